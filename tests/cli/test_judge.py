"""From a job to a verdict: what a device answered is judged as a gate judges what it asks itself."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from edgeproof.cli import run
from edgeproof.runtime.evidence.described import peak_memory
from edgeproof.runtime.evidence.job_file import SEALED, identity
from edgeproof_tests.cli.test_end_to_end import export, read_report, words
from edgeproof_tests.phone_device import Answers, header, write_evidence

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof_tests.world import World

pytestmark = [pytest.mark.official, pytest.mark.slow, pytest.mark.torch]

VERDICTS = {"unlearned": ("PASS", 0), "original": ("FAIL", 1), "few": ("INCONCLUSIVE", 4)}


class Asked(NamedTuple):
    """A file, the pack and the baseline, the job, and what the probe on this machine answered."""

    name: str
    artifact: Path
    pack: Path
    baseline: Path
    job: Path
    answers: Answers

    @property
    def where(self) -> tuple[object, ...]:
        """Options with pack and baseline."""
        return "--probes", self.pack, "--baseline", self.baseline


@pytest.fixture(scope="module")
def program() -> Path:
    from edgeproof_tests.official.probe import build_probe

    return build_probe()


@pytest.fixture(scope="module", params=list(VERDICTS))
def asked(request, world, program, tmp_path_factory) -> Asked:
    name, out = request.param, tmp_path_factory.mktemp(request.param)
    return ask(name, request.getfixturevalue("few") if name == "few" else world, program, out)


@pytest.fixture(scope="module")
def passed(world, program, tmp_path_factory) -> Asked:
    return ask("unlearned", world, program, tmp_path_factory.mktemp("passed"))


def ask(name: str, world: World, program: Path, out: Path) -> Asked:
    assert export(world, out, "--format", "gguf-q8_0", "--quiet", adapters=name != "original") == 0
    artifact = next(out.glob("*.gguf"))
    where = ("--probes", world.pack, "--baseline", world.baseline)
    assert run(words("phone", "job", artifact, *where, "--out", out / "job.json")) == 0
    job = json.loads((out / "job.json").read_text())
    answers = Answers(job, [str(program)], artifact)
    return Asked(name, artifact, world.pack, world.baseline, out / "job.json", answers)


def judge(asked: Asked, evidence: Path, *more: object) -> int:
    return run(words("judge", evidence, asked.artifact, "--job", asked.job, *asked.where, *more))


def lines(asked: Asked) -> list[str]:
    return [json.dumps(answer) for answer in asked.answers.found.values()]


def evidence(asked: Asked, out: Path, **changes: Any) -> Path:
    first = header(asked.answers, **changes.pop("engine", {}))
    return write_evidence(out, first, changes.pop("said", lines(asked)), asked.answers.job["key"], **changes)


def test_the_verdict_is_that_of_a_gate_here_and_so_are_the_numbers(asked, tmp_path, capsys):
    verdict, code = VERDICTS[asked.name]
    own_gate = words("gate", asked.artifact, *asked.where, "--threads", 1, "--report", tmp_path / "own")
    assert run(own_gate) == code
    assert judge(asked, evidence(asked, tmp_path / "e"), "--report", tmp_path / "judged") == code
    own, judged = read_report(tmp_path / "own"), read_report(tmp_path / "judged")
    assert own["verdict"] == judged["verdict"] == verdict
    for one, other in zip(own["criteria"], judged["criteria"], strict=True):
        assert (one["name"], one["status"], one["found"]) == (other["name"], other["status"], other["found"])
    for one, other in zip(own["probes"], judged["probes"], strict=True):
        assert (one["probe"], one["surface"], one["right"]) == (other["probe"], other["surface"], other["right"])
        assert (one["sampled_right"], one["decoy_rank"]) == (other["sampled_right"], other["decoy_rank"])
        assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-4)
    assert judged["backend"]["device"] == "Google Pixel 8"
    assert judged["backend"]["through"] == "a job on the device, answered by the probe"
    assert "whoever has the job could write them" in judged["backend"]["served file, NOT PROVED"]
    where = ("--artifact", asked.artifact, *asked.where)
    capsys.readouterr()
    assert run(words("verify", tmp_path / "judged", *where)) == 0
    assert "NOT PROVED" in capsys.readouterr().err


def test_paths_may_be_strings_in_python(passed, tmp_path):
    import edgeproof

    paths = {"job": passed.job, "probes": passed.pack, "baseline": passed.baseline}
    given = {name: str(path) for name, path in paths.items()}
    assert edgeproof.judge(str(evidence(passed, tmp_path / "e")), str(passed.artifact), **given).verdict == "PASS"


def test_second_turns_are_made_on_the_device(few, program, tmp_path, capsys):
    asked = ask("few", few, program, tmp_path)
    spliced = [number for number, answer in asked.answers.found.items() if "context" in answer]
    assert len(asked.answers.job["splices"]) == len(asked.answers.job["probes"])
    assert len(spliced) >= len(asked.answers.job["splices"])
    said = dict(asked.answers.found)
    said[spliced[0]] = said[spliced[0]] | {"context": said[spliced[1]]["context"]}
    refused(
        asked,
        tmp_path,
        capsys,
        "the gate asks what the device was not asked",
        said=list(map(json.dumps, said.values())),
    )


def refused(asked: Asked, out: Path, capsys: pytest.CaptureFixture[str], why: str, **changes: Any) -> None:
    """Expect exit code 3 with this message, without texts and reports."""
    path = changes.pop("path", None) or evidence(asked, out / "refused", **changes)
    capsys.readouterr()
    assert judge(asked, path, "--report", out / "none") == 3
    told = "".join(capsys.readouterr())
    assert why in told
    assert "PASS" not in told
    assert not (out / "none" / "report.json").exists()


def test_what_is_missing_doubled_or_foreign_has_no_verdict(passed, tmp_path, capsys):
    good = lines(passed)
    strange = json.dumps({"id": len(passed.answers.job["requests"]), "tokens": [1], "finish": "eos"})
    nan = [*good[:-1], good[-1].replace('"tokens": [', '"tokens": [1e9, ')]
    for why, said in (
        ("has no answer to request", good[1:]),
        ("is answered twice", [*good, good[0]]),
        ("is to no request of the job", [*good, strange]),
        ("is no JSON", [*good, "{"]),
        ("is no token id", nan),
    ):
        refused(passed, tmp_path, capsys, why, said=said)


def test_what_was_altered_has_no_verdict(passed, tmp_path, capsys):
    whole = evidence(passed, tmp_path / "whole", verdict="FAIL").read_text().splitlines(keepends=True)
    part = json.loads(whole[1])
    part["sealed"] = part["sealed"][:-8] + ("A" * 8 if part["sealed"][-8:] != "A" * 8 else "B" * 8)
    other = json.dumps({"edgeproof_evidence": 1, "job": "0" * 32}) + "\n"
    for why, text in (
        ("it is cut short", whole[:-1]),
        ("it is cut short", [*whole[:-1], whole[-1].rstrip("\n")]),
        ("parts, its last line says", [*whole[:1], *whole[2:]]),
        ("was altered", [whole[0], json.dumps(part) + "\n", *whole[2:]]),
        ("was altered", [whole[0].replace("Pixel 8", "Pixel 9"), *whole[1:]]),
        ("its last line says other than what is sealed", [*whole[:-1], whole[-1].replace("FAIL", "PASS")]),
        ("the evidence is of another job", [other, *whole[1:]]),
        (
            "names no evidence of version 1",
            [whole[0].replace('"edgeproof_evidence": 1', '"edgeproof_evidence": 2'), *whole[1:]],
        ),
    ):
        path = tmp_path / "altered"
        path.write_text("".join(text))
        refused(passed, tmp_path, capsys, why, path=path)


def test_a_job_of_other_inputs_or_an_altered_one_has_no_verdict(passed, few, tmp_path, capsys):
    path, text = evidence(passed, tmp_path / "e"), passed.job.read_text()
    job = json.loads(text)
    for why, changed in (
        ("its id is not that of its content", text.replace('"leak_share": 0.1', '"leak_share": 0.9')),
        ("is a job of version 2", text.replace('"edgeproof_job": 1', '"edgeproof_job": 2')),
        ("it is no JSON", text[:-10]),
    ):
        (tmp_path / "job.json").write_text(changed)
        refused(passed._replace(job=tmp_path / "job.json"), tmp_path, capsys, why, path=path)
    for name, change, why in (
        ("rules", lambda value: {**value, "leak_share": 0.9}, "the job was altered: its rules is not what"),
        ("policy", lambda _: {"sha256": "0" * 64}, "the job was written for another policy"),
        ("artifact", lambda value: {**value, "sha256": "0" * 64}, "the job was written for another artifact"),
        ("edgeproof", lambda _: "9.9", "the job was written by edgeproof 9.9"),
    ):
        content = {key: value for key, value in job.items() if key not in SEALED}
        content[name] = change(content[name])
        key = base64.b64decode(job["key"])
        forged = {"edgeproof_job": 1, "id": identity(content, key), "key": job["key"], **content}
        (tmp_path / "job.json").write_text(json.dumps(forged))
        refused(passed._replace(job=tmp_path / "job.json"), tmp_path, capsys, why, path=path)
    refused(passed._replace(pack=few.pack), tmp_path, capsys, "recorded with another pack", path=path)


def test_another_file_on_the_device_has_no_verdict(passed, tmp_path, capsys):
    first = header(passed.answers) | {"artifact_sha256": "0" * 64}
    path = write_evidence(tmp_path / "e", first, lines(passed), passed.answers.job["key"])
    refused(passed, tmp_path, capsys, "the device had another file: sha256 000000000000… there", path=path)


def test_the_probe_keeps_within_the_memory_that_the_job_names(passed):
    needed = passed.answers.job["memory"]["bytes"]
    assert passed.answers.usage["peak_rss"] < needed < 4 * passed.answers.usage["peak_rss"]


def test_a_lie_of_the_device_changes_nothing_and_is_told(passed, tmp_path, capsys):
    for word, told in (("FAIL", True), ("PASS", True), ("CANNOT PASS", True), ("NOTHING AGAINST IT", False)):
        assert judge(passed, evidence(passed, tmp_path / "e", verdict=word)) == 0
        assert ("the device itself said" in capsys.readouterr().err) == told


def test_what_was_computed_elsewhere_than_asked_is_inconclusive(passed, tmp_path, capsys):
    for computed in ("gpu", "unknown"):
        assert judge(passed, evidence(passed, tmp_path / "e", engine={"computed": computed})) == 4
        assert "INCONCLUSIVE: it was computed elsewhere than asked" in capsys.readouterr().err


@pytest.mark.parametrize("usage", [{}, {"tokens_per_second": 0, "peak_rss": 0}])
def test_an_apps_own_engine_need_not_tell_memory_and_speed(passed, tmp_path, usage):
    told = header(passed.answers, name="own") | {"usage": usage}
    path = write_evidence(tmp_path / "e", told, lines(passed), passed.answers.job["key"])
    assert judge(passed, path, "--report", tmp_path / "report") == 0
    assert "MB of peak memory: not told" in read_report(tmp_path / "report")["backend"]["speed"]
    assert peak_memory(told) is None
    assert peak_memory({"usage": {"peak_rss": 7}}) == 7


def test_an_engine_without_log_probabilities_never_passes(passed, program, tmp_path, capsys):
    answers = Answers(passed.answers.job, [str(program)], passed.artifact, scores=False)
    first = header(answers, name="theirs", version="1.2", scores=False)
    said = [json.dumps(answer) for answer in answers.found.values()]
    path = write_evidence(tmp_path / "e", first, said, passed.answers.job["key"])
    assert judge(passed, path, "--report", tmp_path / "report") == 4
    assert "the engine gives no log-probabilities" in capsys.readouterr().err
    assert read_report(tmp_path / "report")["backend"]["through"] == "a job on the device, answered by theirs"


def test_nothing_of_the_pack_can_be_read_in_evidence(passed, world, tmp_path):
    text = evidence(passed, tmp_path / "e").read_text()
    assert not re.findall(rf"\b(?:{'|'.join(world.facts.texts)})\b", text)
    assert '"tokens"' not in text
    assert '"logprobs"' not in text
    assert (passed.job.stat().st_mode & 0o777) == 0o600

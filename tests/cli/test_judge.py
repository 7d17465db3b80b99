"""From a job to a verdict: what a device answered is judged as a gate judges what it asks itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from edgeproof.cli import run
from edgeproof_tests.cli.test_end_to_end import export, gate, read_report, words
from edgeproof_tests.phone_device import Answers, header, write_evidence

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof_tests.world import World

pytestmark = [pytest.mark.official, pytest.mark.slow, pytest.mark.torch]

VERDICTS = {"unlearned": ("PASS", 0), "original": ("FAIL", 1)}


class Asked(NamedTuple):
    """A file, its job, and what the probe on this machine answered."""

    name: str
    artifact: Path
    job: Path
    answers: Answers


@pytest.fixture(scope="module")
def program() -> Path:
    from edgeproof_tests.official.probe import build_probe

    return build_probe()


@pytest.fixture(scope="module", params=list(VERDICTS))
def asked(request, world, program, tmp_path_factory) -> Asked:
    name, out = request.param, tmp_path_factory.mktemp(request.param)
    assert export(world, out, "--format", "gguf-q8_0", "--quiet", adapters=name == "unlearned") == 0
    artifact = next(out.glob("*.gguf"))
    assert write_job(world, artifact, out / "job.json") == 0
    job = json.loads((out / "job.json").read_text())
    return Asked(name, artifact, out / "job.json", Answers(job, [str(program)], artifact))


def write_job(world: World, artifact: Path, out: Path, *more: object) -> int:
    where = ("--probes", world.pack, "--baseline", world.baseline, "--out", out)
    return run(words("phone", "job", artifact, *where, *more))


def judge(world: World, asked: Asked, evidence: Path, *more: object) -> int:
    where = ("--probes", world.pack, "--baseline", world.baseline)
    return run(words("judge", evidence, asked.artifact, "--job", asked.job, *where, *more))


def lines(asked: Asked) -> list[str]:
    return [json.dumps(answer) for answer in asked.answers.found.values()]


def evidence(asked: Asked, out: Path, **changes: Any) -> Path:
    first = header(asked.answers, **changes.pop("engine", {}))
    return write_evidence(out, first, changes.pop("said", lines(asked)), asked.answers.job["key"], **changes)


def numbers(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in probe.items() if key != "logprobs"} for probe in report["probes"]]


def test_the_verdict_is_that_of_a_gate_here_and_so_are_the_numbers(world, asked, tmp_path, capsys):
    verdict, code = VERDICTS[asked.name]
    assert gate(world, asked.artifact, "--report", tmp_path / "own") == code
    assert judge(world, asked, evidence(asked, tmp_path / "e"), "--report", tmp_path / "judged") == code
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
    where = ("--artifact", asked.artifact, "--probes", world.pack, "--baseline", world.baseline)
    capsys.readouterr()
    assert run(words("verify", tmp_path / "judged", *where)) == 0
    assert "NOT PROVED" in capsys.readouterr().err

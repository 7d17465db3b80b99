"""A waiver lets one file through until a date, never as a PASS; one that does not hold is ignored, and why is said."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import UTC, date, datetime, timedelta

import edgeproof
import pytest
from edgeproof.cli import run
from edgeproof.contracts.errors import EvidenceError, InputError
from edgeproof.contracts.progress import Recording
from edgeproof.eval import attestation
from edgeproof.eval.report.write import encode
from edgeproof.eval.waiver import WAIVER_TYPE, read_waiver, refusal, unmet, unmet_of
from edgeproof.release.steps.judging.waivers import holding, read_signed_waiver
from edgeproof_tests.eval.test_verify import save_keys
from edgeproof_tests.world import FORMATS

pytestmark = [pytest.mark.slow, pytest.mark.torch]

TODAY = datetime.now(UTC).date()
LATER = (TODAY + timedelta(days=30)).isoformat()


@dataclasses.dataclass(frozen=True)
class Failed:
    """The original of `world`, gated: FAIL, and waived with gate.pem."""

    root: object
    artifact: object
    options: tuple[str, ...]
    judgement: object
    digests: dict[str, str]

    @property
    def waiver(self):
        return self.root / "waiver.dsse.json"

    @property
    def key(self):
        return self.root / "gate.pub"

    def gate(self, *options):
        return run(["gate", str(self.artifact), *self.options, "--threads", "1", "--quiet", *map(str, options)])


@pytest.fixture(scope="module")
def failed(world, tmp_path_factory):
    root = tmp_path_factory.mktemp("waivers")
    save_keys(root)
    chosen = ["--format", FORMATS[0], "--out", str(root / "dist"), "--threads", "1", "--quiet"]
    assert run(["--base", str(world.base), *chosen]) == 0
    (artifact,) = (root / "dist").glob("*.gguf")
    gated = edgeproof.gate(artifact, probes=world.pack, baseline=world.baseline, report=root / "first", threads=1)
    assert gated.verdict == "FAIL"
    report = json.loads((root / "first" / "report.json").read_text())
    digests = {"pack": report["pack"]["files_sha256"], "baseline": report["baseline"]["sha256"]}
    edgeproof.waive(
        root / "first",
        reason="A trial with ten devices",
        role="head of safety",
        until=LATER,
        sign=root / "gate.pem",
        out=root / "waiver.dsse.json",
    )
    assert unmet(gated.judgement) == unmet_of(report)
    options = ("--probes", str(world.pack), "--baseline", str(world.baseline))
    return Failed(root, artifact, options, gated.judgement, digests)


def test_a_waived_failure_is_shown_as_such_and_released_only_on_request(failed, tmp_path, capsys):
    given = ("--waiver", failed.waiver, "--waiver-key", failed.key)
    assert failed.gate(*given) == 1
    assert "FAIL, waived: " in capsys.readouterr().err
    keys = ("--sign", failed.root / "gate.pem", "--report", tmp_path)
    assert failed.gate(*given, *keys, "--accept-waivers", "--json") == 0
    heard = capsys.readouterr()
    said = f"Waived until {LATER} by head of safety: A trial with ten devices"
    assert said in heard.err
    assert json.loads(heard.out)["verdict"] == "FAIL"
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["verdict"], report["exit_code"]) == ("FAIL", 1)
    assert report["waived"]["role"] == "head of safety"
    assert (tmp_path / "summary.md").read_text().startswith("## FAIL, waived: ")
    assert "<title>FAIL, waived: " in (tmp_path / "report.html").read_text()
    signed = attestation.read_signed(tmp_path / "attestation.dsse.json", failed.key)
    assert signed["predicate"]["result"] == "FAILED"
    assert signed["predicate"]["edgeproof_waived"]["until"] == LATER

    verify = ["verify", str(tmp_path), "--artifact", str(failed.artifact), *failed.options, "--key", str(failed.key)]
    assert run(verify) == 0
    assert "was not checked here" in capsys.readouterr().err
    assert run([*verify, "--require-pass"]) == 3
    assert run([*verify, "--require-pass", *map(str, given)]) == 3
    capsys.readouterr()
    assert run([*verify, "--require-pass", *map(str, given), "--accept-waivers", "--json"]) == 0
    heard = capsys.readouterr()
    assert "FAIL, waived: " in heard.err
    assert json.loads(heard.out)["waived"] == said


def test_the_report_without_the_waiver_is_no_longer_the_report(failed, tmp_path):
    given = ("--waiver", failed.waiver, "--waiver-key", failed.key, "--report", tmp_path)
    assert failed.gate(*given) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    report["waived"]["role"] = "nobody"
    (tmp_path / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    assert run(["verify", str(tmp_path), "--artifact", str(failed.artifact), *failed.options]) == 3


def test_waive_names_the_file_that_it_wrote_and_its_last_day(tmp_path, monkeypatch, capsys):
    import edgeproof.release.waive

    monkeypatch.setattr(edgeproof.release.waive, "waive", lambda *_, **__: ("leak: 2 of 30",))
    given = ["waive", "report", "--reason", "A trial", "--role", "head", "--until", LATER, "--sign", "k.pem", "--json"]
    assert run([*given, "--out", str(tmp_path / "w.json")]) == 0
    heard = capsys.readouterr()
    assert heard.err == f"Waived until {LATER} (UTC), in {tmp_path / 'w.json'}:\n  leak: 2 of 30\n"
    assert json.loads(heard.out)["until"] == LATER


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"until": TODAY - timedelta(days=1)}, "it expired on"),
        ({"artifact": "0" * 64}, "it is for another file"),
        ({"pack": "0" * 64}, "it is for another pack"),
        ({"baseline": "0" * 64}, "it is for another baseline"),
        ({"policy": "0" * 64}, "it is for another policy"),
        ({"engine": "llama.cpp, http, http://127.0.0.1:8080"}, "it is for another engine"),
        ({"leaking": ()}, "34 subjects leak that did not leak when it was signed"),
        ({"unclean": ()}, "34 subjects leak that did not leak when it was signed"),
        ({"waives": ("reason: it came back",)}, "it does not waive all that is unmet now"),
    ],
)
def test_a_waiver_that_does_not_fit_is_ignored_loudly(failed, change, why):
    waiver = read_waiver(failed.waiver, failed.key)
    assert refusal(waiver, failed.judgement, **failed.digests, today=TODAY) == ""
    listener = Recording(None)
    other = dataclasses.replace(waiver, **change)
    assert holding(other, failed.judgement, **failed.digests, today=TODAY, progress=listener) is None
    (warning,) = listener.warnings
    assert warning.startswith(f"WAIVER IGNORED: {why}")


def test_the_last_day_counts(failed):
    waiver = dataclasses.replace(read_waiver(failed.waiver, failed.key), until=TODAY)
    assert refusal(waiver, failed.judgement, **failed.digests, today=TODAY) == ""


def test_a_forged_waiver_is_ignored_loudly_and_releases_nothing(failed, tmp_path, capsys):
    save_keys(tmp_path)
    envelope = json.loads(failed.waiver.read_text())
    own = attestation.read_signed(failed.waiver, failed.key)
    (tmp_path / "other.json").write_bytes(attestation.sign(own, attestation.read_private_key(tmp_path / "gate.pem")))
    envelope["payload"] = envelope["payload"][:-8] + "AAAAAAA="
    (tmp_path / "changed.json").write_text(json.dumps(envelope))
    (tmp_path / "empty.json").write_text("{}")
    assert failed.gate("--waiver", tmp_path / "other.json", "--waiver-key", failed.key, "--accept-waivers") == 1
    assert "WAIVER IGNORED" in capsys.readouterr().err
    for name in ("other", "changed", "empty"):
        listener = Recording(None)
        path = tmp_path / f"{name}.json"
        assert read_signed_waiver(path, failed.key, listener, accept=True) is None
        assert "WAIVER IGNORED" in listener.warnings[0]


def test_no_other_signed_statement_is_a_waiver(failed, tmp_path):
    own = attestation.read_signed(failed.waiver, failed.key)
    assert own["predicateType"] == WAIVER_TYPE
    key = attestation.read_private_key(failed.root / "gate.pem")
    for changed in (own | {"predicateType": attestation.PREDICATE_TYPE}, own | {"predicate": {}}):
        (tmp_path / "waiver.json").write_bytes(attestation.sign(changed, key))
        with pytest.raises(EvidenceError):
            read_waiver(tmp_path / "waiver.json", failed.key)


def test_options_that_do_not_belong_together_and_missing_files(failed, tmp_path):
    assert failed.gate("--waiver", failed.waiver) == 2
    assert failed.gate("--accept-waivers") == 2
    assert failed.gate("--waiver-key", failed.key) == 2
    assert failed.gate("--waiver", tmp_path / "none", "--waiver-key", failed.key) == 3
    assert failed.gate("--waiver", failed.waiver, "--waiver-key", tmp_path / "none") == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"until": "tomorrow"},
        {"until": TODAY - timedelta(days=1)},
        {"until": date(TODAY.year + 2, 1, 1)},
        {"reason": " "},
        {"role": "x" * 501},
    ],
)
def test_what_cannot_be_waived_so(failed, tmp_path, wrong):
    given = {"reason": "a trial", "role": "owner", "until": LATER, "sign": failed.root / "gate.pem"}
    with pytest.raises(InputError):
        edgeproof.waive(failed.root / "first", **{**given, **wrong}, out=tmp_path / "waiver")
    assert not (tmp_path / "waiver").exists()


def test_a_pass_and_a_damaged_report_cannot_be_waived(failed, tmp_path):
    given = {"reason": "a trial", "role": "owner", "until": LATER, "sign": failed.root / "gate.pem"}
    content = (failed.root / "first" / "report.json").read_bytes()
    (tmp_path / "report.json").write_bytes(content.replace(b'"it came back"', b'"utility lost"', 1))
    with pytest.raises(EvidenceError, match="its own digest"):
        edgeproof.waive(tmp_path, **given, out=tmp_path / "waiver")
    report = json.loads(content) | {"verdict": "PASS"}
    del report["report_sha256"]
    whole = report | {"report_sha256": hashlib.sha256(encode(report)).hexdigest()}
    (tmp_path / "report.json").write_bytes(encode(whole))
    with pytest.raises(EvidenceError, match="nothing is there to be waived"):
        edgeproof.waive(tmp_path, **given, out=tmp_path / "waiver")
    assert not (tmp_path / "waiver").exists()

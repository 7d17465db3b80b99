"""A budget on a real artifact: measured where it runs, judged, in the report, and verified."""

from __future__ import annotations

import hashlib
import json

import pytest
from edgeproof.cli import run
from edgeproof.eval.report.write import encode
from edgeproof_tests.world import FORMATS

pytestmark = [pytest.mark.slow, pytest.mark.torch]


@pytest.fixture(scope="module")
def artifact(world, tmp_path_factory):
    made = tmp_path_factory.mktemp("budget")
    chosen = ["--adapter", str(world.adapter), "--format", FORMATS[0], "--threads", "1", "--quiet"]
    assert run(["--base", str(world.base), *chosen, "--out", str(made)]) == 0
    (found,) = made.glob("*.gguf")
    return found


@pytest.fixture
def gate(world, artifact, tmp_path):
    given = ["--probes", str(world.pack), "--baseline", str(world.baseline), "--policy", str(tmp_path / "policy.toml")]

    def gated(budget):
        (tmp_path / "policy.toml").write_text(f"[budget]\n{budget}\n")
        report = ["--report", str(tmp_path / "report"), "--force"]
        code = run(["gate", str(artifact), *given, *report, "--threads", "1", "--quiet"])
        return code, json.loads((tmp_path / "report" / "report.json").read_text())

    gated.verify = ["verify", str(tmp_path / "report"), "--artifact", str(artifact), *given]
    gated.file = tmp_path / "report" / "report.json"
    return gated


def test_what_the_file_takes_is_measured_judged_and_verified(gate, artifact):
    sizes, speeds = "files_mb = 500\nlargest_file_mb = 500", "tokens_per_second = 0.1\nfirst_token_seconds = 60"
    code, report = gate(f"{sizes}\nmemory_mb = 4000\n{speeds}")
    assert code == 0, report["summary"]
    taken, size = report["resources"], artifact.stat().st_size
    assert (taken["file_bytes"], taken["largest_file_bytes"]) == (size, size)
    assert size < taken["peak_memory_bytes"] < 4e9
    assert taken["tokens_per_second"] > 0.1
    assert 0 < taken["first_token_seconds"] < 60
    names = [criterion["name"] for criterion in report["criteria"]]
    assert names[-5:] == ["files", "largest-file", "memory", "speed", "first-token"]
    assert run(gate.verify) == 0


def test_a_file_over_the_budget_fails_and_a_forged_budget_does_not_verify(gate, capsys):
    code, report = gate("files_mb = 0.001")
    assert (code, report["verdict"], report["reason"]) == (1, "FAIL", "over the budget")
    assert run(gate.verify) == 0
    report["resources"]["file_bytes"] = 10
    del report["report_sha256"]
    gate.file.write_bytes(encode(report | {"report_sha256": hashlib.sha256(encode(report)).hexdigest()}))
    capsys.readouterr()
    assert run(gate.verify) == 3
    assert "its budget is of 10 bytes" in capsys.readouterr().err

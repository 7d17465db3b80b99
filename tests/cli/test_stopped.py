"""A command that is stopped at any moment goes on where it was, and ends as one that was not."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.torch]

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOMENT = random.Random()  # another moment in each run of the tests


@pytest.fixture
def answers(tmp_path, monkeypatch):
    folder = tmp_path / "answers"
    monkeypatch.setenv("EDGEPROOF_ANSWERS", str(folder))
    return folder


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "edgeproof.cli", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def stop_at(process: subprocess.Popen[str], answers: Path, size: int, signal_: signal.Signals) -> int:
    """Stop the command when it has kept so many bytes of answers; return how many it has kept."""
    while sum(file.stat().st_size for file in answers.glob("*")) < size:
        assert process.poll() is None, f"it ended too early: {process.communicate()}"
        time.sleep(0.001)
    process.send_signal(signal_)
    process.communicate()
    assert process.returncode in {-9, 130}
    return sum(file.read_bytes().count(b"\n") - 1 for file in answers.glob("*"))


def finish(process: subprocess.Popen[str], *codes: int) -> str:
    out, err = process.communicate()
    assert process.returncode in codes, err
    return out + err


@pytest.mark.parametrize("stop", SIGNALS, ids=lambda one: one.name)
def test_a_baseline_has_the_bytes_of_an_uninterrupted_one(world, answers, tmp_path, stop):
    out = tmp_path / "baseline.json"
    formats = ("--format", "gguf-q8_0", "--format", "gguf-q4_0")
    command = ("baseline", "--base", world.base, "--adapter", world.adapter, *formats)
    command = (*command, "--probes", world.pack, "--out", out, "--threads", 1)
    kept = stop_at(start(*command), answers, MOMENT.randrange(1_000, 400_000), stop)
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir() if "." not in path.name[:1]) == ["answers"]
    said = finish(start(*command), 0)
    assert f"{kept:,} answers of an interrupted run" in said
    assert out.read_bytes() == world.baseline.read_bytes()
    assert list(answers.iterdir()) == []


@pytest.mark.parametrize("stop", SIGNALS, ids=lambda one: one.name)
def test_a_gate_reports_what_an_uninterrupted_one_does(world, answers, tmp_path, stop, artifact):
    def gate(report: Path) -> tuple[object, ...]:
        judged = ("--probes", world.pack, "--baseline", world.baseline, "--report", report)
        return ("gate", artifact, *judged, "--threads", 1)

    finish(start(*gate(tmp_path / "whole")), 0)
    kept = stop_at(start(*gate(tmp_path / "stopped")), answers, MOMENT.randrange(1_000, 150_000), stop)
    assert not (tmp_path / "stopped").exists()
    finish(start(*gate(tmp_path / "stopped")), 0)
    assert list(answers.iterdir()) == []
    whole, stopped = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "stopped"))
    assert stopped["backend"].pop("answers of an interrupted run") == str(kept)
    assert f"{kept} answers were given by an interrupted run of this very file." in stopped["notes"]
    stopped["notes"] = [note for note in stopped["notes"] if "interrupted" not in note]
    assert of_content(stopped) == of_content(whole)
    where = ("--artifact", artifact, "--probes", world.pack, "--baseline", world.baseline)
    assert "PASS" in finish(start("verify", tmp_path / "stopped", *where), 0)


def test_answers_that_were_tampered_with_are_not_used_and_that_is_told(world, answers, tmp_path, artifact):
    judged = ("--probes", world.pack, "--baseline", world.baseline, "--report", tmp_path / "report", "--threads", 1)
    stop_at(start("gate", artifact, *judged), answers, 60_000, signal.SIGKILL)
    (file,) = answers.iterdir()
    lines = file.read_text().splitlines(keepends=True)
    lines[3] = " ".join([lines[3].split(" ")[0], *lines[4].split(" ")[1:]])
    file.write_text("".join(lines))
    said = finish(start("gate", artifact, *judged), 0)
    assert f"the answers kept in {file} are not used: line 4 of" in said
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert "answers of an interrupted run" not in report["backend"]


@pytest.fixture(scope="module")
def artifact(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("stopped")
    process = start(
        "export", "--base", world.base, "--adapter", world.adapter, "--format", "gguf-q8_0", "--out", out, "--json"
    )
    return json.loads(finish(process, 0).splitlines()[0])["artifacts"][0]["artifact"]


def of_content(report: dict[str, Any]) -> dict[str, Any]:
    """All but what differs from run to run: times, the command's words and the digest over it all."""
    differs = {"created", "command", "seconds", "report_sha256"}
    return {key: value for key, value in report.items() if key not in differs}

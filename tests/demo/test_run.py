"""What must hold of a run of the probes: it hears, can be stopped, waits for others, and tells every end."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from edgeproof.contracts.errors import ArtifactError, BackendError
from edgeproof.demo.drawing import verdict
from edgeproof.demo.run import Gated, Run
from edgeproof.eval.measurement import Finding, Leg
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Status
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import WORLD

PACK = load_pack(Path(__file__).parents[2] / "examples" / "capitals" / "pack")
JUDGEMENT = judge(WORLD.artifact(), WORLD.baseline(), Policy(), format="gguf-q4")


class Gate:
    """Measures what it is told to, when it is let."""

    def __init__(self, *findings: Finding, error: Exception | None = None) -> None:
        self.findings, self.error = findings, error
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.ended = threading.Event()

    def __call__(self, _artifact, *, progress, on_finding, beat):
        try:
            progress.start("artifact: scores", 10, "answers")
            for finding in self.findings:
                on_finding(finding)
                progress.advance(1)
            self.begun.set()
            while not self.go_on.wait(0.01):
                beat()
            progress.advance(1)
            if self.error is not None:
                raise self.error
            return Gated(JUDGEMENT, {"report.json": b"{}"})
        finally:
            self.ended.set()


def begin(gate, alone=None):
    return Run(Path("file.gguf"), PACK, Policy(), gate, alone or threading.Lock())


def end(run):
    run._thread.join()
    return run.state()


def test_cells_fill_as_findings_come():
    france, japan = "capital-france-1", "capital-japan-1"
    gate = Gate(
        Finding(france, "raw", Leg.EXTRACTION, -20.0),
        Finding(japan, "raw", Leg.EXTRACTION, -1.0),
        Finding(france, "chat", Leg.GREEDY, 1.0),
        Finding("invented-capital-averonia-1", "raw", Leg.EXTRACTION, -0.1),
    )
    run = begin(gate)
    gate.begun.wait()
    state = run.state()
    assert (state["phase"], state["task"], state["done"], state["total"]) == ("running", "artifact: scores", 4, 10)
    cells = state["cells"]
    assert len(cells) == 55
    assert (cells["Japan"]["asked"], cells["Japan"]["leaks"]) == (1, True)
    assert cells["Japan"]["probability"] > 0.99
    assert (cells["France"]["leaks"], cells["Spain"]["asked"]) == (True, 0)
    assert state["verdict"] is None
    gate.go_on.set()
    state = end(run)
    assert state["phase"] == "done"
    assert state["verdict"]["verdict"] == str(JUDGEMENT.verdict)
    for drawn, own in zip(state["verdict"]["criteria"], JUDGEMENT.criteria, strict=True):
        assert [drawn[key] for key in ("estimate", "lower", "upper", "limit")] == [
            own.estimate,
            own.lower,
            own.upper,
            own.limit,
        ]


def test_a_stopped_run_has_no_verdict():
    gate = Gate(Finding("capital-japan-1", "raw", Leg.EXTRACTION, -1.0))
    run = begin(gate)
    gate.begun.wait()
    assert run.state()["cells"]["Japan"]["leaks"]
    run.stop()
    state = end(run)  # though the gate would never go on
    assert (state["phase"], state["verdict"], state["error"]) == ("stopped", None, None)
    assert gate.ended.is_set()
    assert not any(cell["asked"] or cell["leaks"] for cell in state["cells"].values())
    assert run.gated is None


def test_a_run_waits_for_another_one_and_can_be_stopped_while_it_waits():
    alone = threading.Lock()
    gate, other = Gate(), Gate()
    with alone:
        run, stopped = begin(gate, alone), begin(other, alone)
        assert run.state()["phase"] == "waiting"
        stopped.stop()
        assert end(stopped)["phase"] == "stopped"
    gate.go_on.set()
    assert end(run)["phase"] == "done"
    assert not other.begun.is_set()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ArtifactError("there is no file.gguf", next_step="check the path"), "there is no file.gguf"),
        (BackendError("the backend's process died: signal 11, SIGSEGV"), "SIGSEGV"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_a_run_that_fails_says_why_and_gives_no_verdict(error, words, capsys):
    gate = Gate(error=error)
    gate.go_on.set()
    run = begin(gate)
    state = end(run)
    assert state["phase"] == "failed"
    assert words in state["error"]["message"]
    assert state["verdict"] is None
    assert ("Traceback" in capsys.readouterr().err) == isinstance(error, ZeroDivisionError)


def test_a_bound_above_all_that_there_is_to_recover_is_not_drawn():
    recovery = replace(JUDGEMENT.criterion("recovery"), status=Status.UNDECIDED, lower=0.0, limit=0.2, upper=4.62)
    others = [one for one in JUDGEMENT.criteria if one.name != "recovery"]
    (drawn,) = (
        one
        for one in verdict(replace(JUDGEMENT, criteria=(recovery, *others)))["criteria"]
        if one["name"] == "recovery"
    )
    assert drawn["upper"] is None
    assert "462" not in drawn["words"]
    assert drawn["figure"]["end"] == 100.0

"""One run of the probes: the gate itself in a thread, its findings as they come, and its verdict."""

from __future__ import annotations

import threading
import time
import traceback
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edgeproof.contracts.errors import EdgeproofError
from edgeproof.demo import drawing
from edgeproof.eval.measurement import Leg
from edgeproof.eval.stats.shares import extraction_probability

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.measurement import Finding
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.eval.verdict.policy import Policy


class Gated(NamedTuple):
    """A verdict, and the files of evidence by name: ids and numbers, no texts."""

    judgement: Judgement
    evidence: Mapping[str, bytes]


class Gate(Protocol):
    """Runs the gate on an artifact."""

    def __call__(
        self, artifact: Path, *, progress: Progress, on_finding: Callable[[Finding], None], beat: Callable[[], None]
    ) -> Gated:
        """Measure and judge. `beat` is called several times a second meanwhile; it may raise."""


class Phase(StrEnum):
    """How far a run is."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    DONE = "done"


ENDED = frozenset({Phase.STOPPED, Phase.FAILED, Phase.DONE})


@dataclass
class Cell:
    """A cluster in the chart that fills up.

    Attributes:
        asked: how many ways of asking have been scored.
        probability: the highest probability so far that the answer comes out within the policy's samples.
        leaks: by what is known so far.

    """

    asked: int = 0
    probability: float = 0.0
    leaks: bool = False


class _StopError(Exception):
    """The person no longer wants the run."""


class Run:
    """A run for one person; `progress` and findings come from the gate's thread. Runs wait for each other.

    Args:
        artifact: the file that ships.
        pack: its forget probes are the cells of the chart.
        policy: by whose leak rule a cell leaks while it fills; the verdict is the gate's own.
        gate: measures and judges.
        alone: held while it runs, so that two of them do not share the cores.

    """

    def __init__(self, artifact: Path, pack: Pack, policy: Policy, gate: Gate, alone: threading.Lock) -> None:
        self._artifact, self._policy, self._gate, self._alone = artifact, policy, gate, alone
        self._clusters = {probe.id: probe.cluster for probe in pack.probes if probe.role == "forget"}
        self._cells = {cluster: Cell() for cluster in self._clusters.values()}
        self._lock = threading.Lock()
        self._phase, self._error = Phase.WAITING, {"message": "", "next_step": ""}
        self._task, self._total, self._done = "", 0, 0
        self._began = time.monotonic()
        self._seconds = 0.0
        self._warnings: list[str] = []
        self.gated: Gated | None = None
        self._thread = threading.Thread(target=self._work, name="edgeproof demo run", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._phase in ENDED

    def stop(self) -> None:
        """Cancel it: the engine is killed within a fraction of a second."""
        with self._lock:
            if self._phase not in ENDED:
                self._phase = Phase.STOPPING

    def join(self, seconds: float) -> None:
        """Wait until it has ended, at most so long."""
        self._thread.join(seconds)

    def state(self) -> dict[str, object]:
        """Give what the page draws."""
        with self._lock:
            # Cells of a run without a verdict would say what was not judged.
            cut = self._phase in {Phase.STOPPED, Phase.FAILED}
            return {
                "phase": str(self._phase),
                "task": self._task,
                "total": self._total,
                "done": self._done,
                "seconds": self._seconds or time.monotonic() - self._began,
                "cells": {cluster: asdict(Cell() if cut else cell) for cluster, cell in self._cells.items()},
                "warnings": list(self._warnings),
                "error": self._error if self._phase == Phase.FAILED else None,
                "verdict": None if self.gated is None else drawing.verdict(self.gated.judgement),
            }

    def start(self, task: str, total: int, unit: str) -> None:  # noqa: ARG002 (Progress's signature)
        """Begin a task of the gate."""
        with self._lock:
            self._task, self._total, self._done = task, total, 0

    def advance(self, done: int) -> None:
        """Count work; a stopped run ends here."""
        with self._lock:
            self._done += done
        self._beat()

    def say(self, message: str) -> None:
        """Ignore it: the page has its own words."""

    def warn(self, message: str) -> None:
        """Keep a warning for the page."""
        with self._lock:
            self._warnings.append(message)

    def _beat(self) -> None:
        if self._phase == Phase.STOPPING:
            raise _StopError

    def _found(self, finding: Finding) -> None:
        cluster = self._clusters.get(finding.probe)
        if cluster is None:
            return
        with self._lock:
            cell = self._cells[cluster]
            if finding.leg == Leg.EXTRACTION:
                probability = extraction_probability(finding.value, self._policy.leak_queries)
                cell.asked += 1
                cell.probability = max(probability, cell.probability)
                cell.leaks |= probability >= self._policy.leak_probability
            else:
                cell.leaks |= finding.value > 0

    def _work(self) -> None:
        while not self._alone.acquire(timeout=0.2):
            if self._phase == Phase.STOPPING:
                self._phase = Phase.STOPPED
                return
        try:
            self._run()
        finally:
            self._seconds = time.monotonic() - self._began
            self._alone.release()

    def _run(self) -> None:
        with self._lock:
            if self._phase == Phase.STOPPING:
                self._phase = Phase.STOPPED
                return
            self._phase, self._began = Phase.RUNNING, time.monotonic()
        try:
            gated = self._gate(self._artifact, progress=self, on_finding=self._found, beat=self._beat)
        except _StopError:
            phase = Phase.STOPPED
        except EdgeproofError as error:
            phase, self._error = Phase.FAILED, {"message": error.message, "next_step": error.next_step}
        except Exception as error:  # noqa: BLE001 (shown on the page, with its trace in the terminal)
            traceback.print_exc()
            text = f"internal error in edgeproof: {type(error).__name__}: {error}"
            phase, self._error = Phase.FAILED, {"message": text, "next_step": "please report it"}
        else:
            with self._lock:
                self.gated, self._phase = gated, Phase.DONE
            return
        with self._lock:
            self._phase = phase

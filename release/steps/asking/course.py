"""Course of a command that asks models: which answers are still to come, and about how long that takes."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.counting import counted
from edgeproof.contracts.progress import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.contracts.progress import Recording
    from edgeproof.eval.measuring.forecast import Forecast, Stage

LEAST = 16
"""Answers after which a stage's own speed is believed."""


class Step(NamedTuple):
    """A stage of one model: `label` begins the task's name in `measure`, `model` is shown in its place."""

    label: str
    model: str
    stage: Stage


def steps(label: str, model: str, found: Forecast) -> list[Step]:
    """Return the steps of one model."""
    return [Step(label, model, stage) for stage in found.stages]


@dataclass
class _Running:
    """The running step: answers done, and those of them that were computed since `began`."""

    stage: Stage
    total: int
    began: float
    done: int = 0
    computed: int = 0

    def speed(self) -> float | None:
        """Return the seconds that an answer takes; None after too few of them."""
        return (time.monotonic() - self.began) / self.computed if self.computed >= LEAST else None


class Course:
    """A `Progress` that passes everything on, names the model in each task, and foretells the remaining time."""

    def __init__(self, listener: Recording) -> None:
        self.listener = listener
        self._coming: list[Step] = []
        self._running: _Running | None = None
        self._free = 0
        self._by_task: dict[str, float] = {}
        self._by_kind: dict[bool, float] = {}

    def time(self, engine: Backend, found: Forecast) -> None:
        """Time a few answers, which the engine keeps, so that nothing is computed twice."""
        if not self.listener.foreseeing:
            return
        for generated, count, answers in (
            (False, len(found.scores), engine.score(found.scores)),
            (True, len(found.generations), engine.generate(found.generations)),
        ):
            began = time.monotonic()
            deque(answers, maxlen=0)
            if count:
                self._by_kind[generated] = (time.monotonic() - began) / count

    def foresee(self, coming: Sequence[Step], *, resumed: int) -> None:
        """Take these steps as all that is to come, and tell the listener how many answers they are and how long.

        `resumed` of the first model's answers come at once, since an interrupted run has given them.
        """
        self._coming, self._free, self._running = list(coming), resumed, None
        models = list(dict.fromkeys(step.model for step in coming))
        asks = sum(step.stage.asks for step in coming)
        left = self.left()
        self.listener.foresee(
            f"{counted(asks, 'answer')} of {', '.join(models)}"
            + (f", {resumed:,} of them given by an interrupted run" if resumed else "")
            + ("" if left is None else f": about {duration(left)}"),
            self.left,
        )

    def resume(self, answers: int) -> None:
        """Expect that so many answers come at once, since an interrupted run has given them."""
        self._free = answers

    def left(self) -> float | None:
        """Return the seconds that remain over all steps; None where no speed is known yet."""
        counts = [] if self._running is None else [(self._running.stage, self._running.total - self._running.done)]
        counts += [(step.stage, step.stage.asks) for step in self._coming]
        free, seconds = self._free, 0.0
        for stage, asks in counts:
            speed = self._speed(stage)
            if speed is None:
                return None
            seconds += max(0, asks - free) * speed
            free = max(0, free - asks)
        return seconds

    def start(self, task: str, total: int, unit: str) -> None:
        """Begin the step of this name; those before it are over."""
        self._learn()
        names = [step.label + step.stage.task for step in self._coming]
        if task in names:
            step = self._coming[names.index(task)]
            self._coming = self._coming[names.index(task) + 1 :]
            self._running = _Running(step.stage, total, time.monotonic())
            task = step.model + step.stage.task
        self.listener.start(task, total, unit)

    def advance(self, done: int) -> None:
        """Count answers; those of an interrupted run say nothing of the speed."""
        running = self._running
        if running is not None:
            free = min(self._free, done)
            self._free -= free
            running.done += done
            running.computed += done - free
            if free:
                running.began, running.computed = time.monotonic(), 0
        self.listener.advance(done)

    def say(self, message: str) -> None:
        """Pass it on."""
        self.listener.say(message)

    def warn(self, message: str) -> None:
        """Pass it on."""
        self.listener.warn(message)

    def _learn(self) -> None:
        """Remember the speed of the step that is over, for those of its kind."""
        speed = None if self._running is None else self._running.speed()
        if self._running is not None and speed is not None:
            self._by_task[self._running.stage.task] = self._by_kind[self._running.stage.generated] = speed
        self._running = None

    def _speed(self, stage: Stage) -> float | None:
        own = self._running.speed() if self._running is not None and self._running.stage is stage else None
        return own or self._by_task.get(stage.task) or self._by_kind.get(stage.generated)

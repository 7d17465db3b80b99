"""Findings of a measurement under way, told to a listener."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeproof.eval.measurement import Finding, Leg
from edgeproof.eval.measuring.records import answer_logprobs, carried_logprob, is_right
from edgeproof.eval.packs.kinds import SurfaceKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeproof.contracts.backend import Backend, Score
    from edgeproof.eval.measuring.plan import Plan


class Hearing:
    """Tells a listener, where there is one, what has been found."""

    def __init__(self, listener: Callable[[Finding], None] | None = None) -> None:
        self._listener = listener

    def scored(self, plan: Plan, scores: Sequence[Score]) -> None:
        """Tell how probable the answer is."""
        if self._listener is not None and not plan.choices:
            bare, carried = math.fsum(answer_logprobs(scores[0])), carried_logprob(plan, scores)
            self._tell(plan, Leg.EXTRACTION, bare if carried is None else max(bare, carried))

    def answered(self, plan: Plan, text: str, backend: Backend) -> None:
        """Tell whether the greedy answer is right."""
        if self._listener is not None and plan.ask.surface.kind != SurfaceKind.CHOICES:
            self._tell(plan, Leg.GREEDY, float(is_right(plan.ask, text, backend)))

    def sampled(self, plan: Plan, right: int) -> None:
        """Tell how many samples are right."""
        self._tell(plan, Leg.SAMPLES, right)

    def _tell(self, plan: Plan, leg: Leg, value: float) -> None:
        if self._listener is not None:
            self._listener(Finding(plan.ask.probe.id, plan.ask.surface.name, leg, value))


UNHEARD = Hearing()

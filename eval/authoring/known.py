"""Which probes of a new pack a base knows: it is asked once, before the pack is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.verdict.legs import legs
from edgeproof.eval.verdict.policy import Policy

if TYPE_CHECKING:
    from edgeproof.eval.measurement import Measurement
    from edgeproof.eval.packs.pack import Pack


def known_probes(pack: Pack, measurement: Measurement) -> frozenset[str]:
    """Return the ids of the probes whose answer comes out on any surface except choices, by the gate's leak rule."""
    policy, kinds = Policy(), pack.kinds()
    return frozenset(
        score.probe
        for score in measurement.scores
        if kinds[score.surface] != SurfaceKind.CHOICES and legs(score, policy)
    )

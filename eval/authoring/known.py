"""What a base knows of the probes of a new pack: it is asked once, before the pack is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.asking.kinds import KINDS
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.verdict.legs import legs
from edgeproof.eval.verdict.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.eval.measurement import Measurement
    from edgeproof.eval.packs.pack import Pack


class Known(NamedTuple):
    """What a base knows.

    Attributes:
        base: its name.
        probes: ids of the probes whose answer comes out on any surface except choices, by the gate's leak rule.
        chats: whether any answer comes out in a chat.

    """

    base: str
    probes: frozenset[str]
    chats: bool


def what_it_knows(base: str, pack: Pack, measured: Sequence[Measurement]) -> Known:
    """Return what a base knows of a pack that it was asked, part by part."""
    policy, kinds = Policy(), pack.kinds()
    out = [
        (score.probe, kinds[score.surface])
        for measurement in measured
        for score in measurement.scores
        if kinds[score.surface] != SurfaceKind.CHOICES and legs(score, policy)
    ]
    return Known(base, frozenset(probe for probe, _ in out), any(KINDS[kind].chat for _, kind in out))

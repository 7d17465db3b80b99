"""Solved examples before the question: retained facts (few-shot), or other forgotten ones (siblings)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.asking.kinds.kind import SAID, Kind, open_prompt
from edgeproof.eval.packs.kinds import SurfaceKind

if TYPE_CHECKING:
    from edgeproof.eval.asking.kinds.kind import Pen, Prompt
    from edgeproof.eval.packs.probes import Probe, Surface


def _shown(pen: Pen, probe: Probe, surface: Surface) -> Prompt:
    return open_prompt(pen.examples.prompt(probe, surface), probe)


FEW_SHOT = Kind(SurfaceKind.FEW_SHOT.value, _shown, SAID, recovery=True, examples=True)
SIBLINGS = Kind(SurfaceKind.SIBLINGS.value, _shown, SAID, examples=True)

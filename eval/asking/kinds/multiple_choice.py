"""Multiple choice: the true answer among wrong ones, chosen by letter (`asking/choices.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.asking.choices import LETTERS
from edgeproof.eval.asking.kinds.kind import SAID, Kind, open_prompt
from edgeproof.eval.packs.kinds import SurfaceKind

if TYPE_CHECKING:
    from edgeproof.eval.asking.kinds.kind import Pen, Prompt
    from edgeproof.eval.packs.probes import Probe, Surface


def _first_order(pen: Pen, probe: Probe, surface: Surface) -> Prompt:
    return open_prompt(pen.orders(probe, surface)[0].prompt, probe)


def _letter(pen: Pen, probe: Probe, surface: Surface) -> str:
    return LETTERS[pen.orders(probe, surface)[0].places[0]]


CHOICES = Kind(
    SurfaceKind.CHOICES.value, _first_order, (*SAID, "options"), ("", "options"), target=_letter, answered=False
)

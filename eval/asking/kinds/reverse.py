"""Reverse surfaces: the answer is given, the question is scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.asking.kinds.kind import Kind, open_prompt
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from edgeproof.eval.asking.kinds.kind import Pen, Prompt
    from edgeproof.eval.packs.probes import Probe, Surface


def _reverse(pen: Pen, probe: Probe, surface: Surface) -> Prompt:  # noqa: ARG001 (a `WritePrompt`)
    assert surface.template is not None
    return open_prompt(fill(surface.template, {"answer": probe.answer}), probe)


def _question(pen: Pen, probe: Probe, surface: Surface) -> str:  # noqa: ARG001 (a `Target`)
    return probe.question


REVERSE = Kind(
    SurfaceKind.REVERSE.value,
    _reverse,
    ("answer",),
    needs_template='for instance "{answer} is the capital of"',
    target=_question,
    aliases=False,
)

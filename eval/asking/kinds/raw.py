"""Raw continuation without a chat template: the probe's prompt, a paraphrase, or another template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.asking.kinds.kind import ASKED, Kind, open_prompt
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from edgeproof.eval.asking.kinds.kind import Pen, Prompt
    from edgeproof.eval.packs.probes import Probe, Surface


def _raw(pen: Pen, probe: Probe, surface: Surface) -> Prompt:  # noqa: ARG001 (a `WritePrompt`)
    return _continued(probe, surface, probe.question)


def _paraphrase(pen: Pen, probe: Probe, surface: Surface) -> Prompt:  # noqa: ARG001 (the same)
    own = surface.template is None
    return _continued(probe, surface, probe.paraphrases[surface.index] if own else probe.question)


def _continued(probe: Probe, surface: Surface, question: str) -> Prompt:
    prompt = fill(probe.template, {"question": question})
    if surface.template is not None:
        prompt = fill(surface.template, {"question": question, "prompt": prompt})
    return open_prompt(probe.few_shot + prompt, probe)


RAW = Kind(SurfaceKind.RAW.value, _raw, ASKED, recovery=True)
PARAPHRASE = Kind(SurfaceKind.PARAPHRASE.value, _paraphrase, ASKED, recovery=True)

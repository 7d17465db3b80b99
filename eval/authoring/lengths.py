"""Estimated length of a new pack's longest prompt: no tokenizer is at hand when it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.asking.examples import Examples
from edgeproof.eval.packs.kinds import SurfaceKind

if TYPE_CHECKING:
    from edgeproof.eval.packs.pack import Pack

BYTES = 4
"""UTF-8 bytes of a token, about: what common tokenizers make of English text."""
SHORT = 512
"""Context of a small model, in tokens; prompts that may be longer are told."""


def length_note(pack: Pack) -> tuple[str, ...]:
    """Return a note if solved examples make prompts that, with their answers, are longer than a short context."""
    examples = Examples(pack.probes)
    lengths = [
        (len(f"{examples.prompt(probe, surface)} {probe.answer}".encode()) // BYTES, surface.name, probe.id)
        for surface in pack.surfaces
        if surface.kind in {SurfaceKind.FEW_SHOT, SurfaceKind.SIBLINGS}
        for probe in pack.probes
        if probe.role in surface.roles
    ]
    tokens, surface, probe = max(lengths, default=(0, "", ""))
    if tokens <= SHORT:
        return ()
    note = (
        f"with its solved examples, probe {probe} on {surface} takes about {tokens:,} tokens: a context of "
        f"{SHORT} cannot hold it; shorten the answers, or list the surfaces in pack.toml with fewer `shots`"
    )
    return (note,)

"""Reference asking: the default surfaces that a pack omits, asked of the base for the baseline.

A pack with weak surfaces finds nothing in any file. The answers that its surfaces elicit from the base are compared
with those of the default surfaces, so that a verdict states the strength of the asking.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.surfaces import default_surfaces

if TYPE_CHECKING:
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Surface


def reference_pack(pack: Pack, *, chat: bool) -> Pack | None:
    """Return the pack's forget probes on the default surfaces that it does not ask; None if it asks all.

    A surface of a default kind with another template counts as a different surface, since it may be weaker.

    Args:
        pack: the pack of the gate.
        chat: whether the artifact has a chat template.

    """
    asked = {_wording(surface) for surface in pack.asked(Role.FORGET)}
    missing = tuple(
        replace(surface, name=f"reference {surface.name}", roles=(Role.FORGET,))
        for surface in default_surfaces(pack.probes, pack.system_prompt, chat=chat)
        if _wording(surface) not in asked
    )
    return replace(pack, surfaces=missing) if missing else None


def _wording(surface: Surface) -> tuple[str, str | None, int, int]:
    return surface.kind, surface.template, surface.index, surface.shots

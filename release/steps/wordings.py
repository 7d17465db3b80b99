"""A pack's ways of asking, as training takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.asking.kinds.kind import open_prompt, values
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.templates import fill
from edgeproof.unlearn.data.wordings import Worded, Wordings, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe, Surface

TRAINED_AS = {
    SurfaceKind.RAW: "raw",
    SurfaceKind.PARAPHRASE: "paraphrase",
    SurfaceKind.CHAT: "chat",
    SurfaceKind.CHAT_SYSTEM: "chat",
    SurfaceKind.PREFIX: "prefix",
    SurfaceKind.OPENING: "own",
    SurfaceKind.TURNS: "turns",
    SurfaceKind.FEW_SHOT: "few-shot",
    SurfaceKind.SIBLINGS: "siblings",
}
"""Training surface by the kind of a pack's surface. The others are no questions of their own: a reversed question is
another line of the forget set, and choices give the answer away."""

_CHATS = (SurfaceKind.CHAT, SurfaceKind.CHAT_SYSTEM)


def wordings_of(pack: Pack) -> Wordings:
    """Return how `pack` asks its forget probes, and the wordings of these and of the trained retain probes.

    Untrained retain probes and holdout are left out: what judges must not be trained.
    """
    asked = pack.asked(Role.FORGET)
    kinds = [surface.kind for surface in asked]
    named = dict.fromkeys(TRAINED_AS[SurfaceKind(kind)] for kind in kinds if kind in TRAINED_AS)
    systems = [pack.system_prompt] if SurfaceKind.CHAT_SYSTEM in kinds else []
    plain = [None] if SurfaceKind.CHAT in kinds or not systems else []
    return Wordings(
        f"{pack.name}, sha256 {pack.digest}",
        tuple(named),
        _templates(asked, SurfaceKind.PREFIX),
        _templates(asked, SurfaceKind.TURNS),
        (*plain, *systems),
        any(probe.critical for probe in pack.probes if probe.role == Role.FORGET),
        _questions(pack),
    )


def _templates(surfaces: tuple[Surface, ...], kind: SurfaceKind) -> tuple[str, ...]:
    """Return the templates of a kind that are the same for every probe."""
    found = (surface.template for surface in surfaces if surface.kind == kind)
    return tuple(template for template in found if template is not None and "{" not in template)


def _questions(pack: Pack) -> dict[tuple[str, str, str], Worded]:
    found: dict[tuple[str, str, str], Worded] = {}
    for probe in pack.probes:
        trained = probe.role == Role.FORGET or (probe.role == Role.RETAIN and probe.trained)
        if not trained:
            continue
        surfaces = pack.asked(probe.role)
        own = values(probe)
        opened = open_prompt(own["prompt"], probe)
        prompts, messages = (opened.text, *_prompts(probe, surfaces)), (own["message"], *_messages(probe, surfaces))
        asked = Worded(prompts, messages, probe.template, opened.gap)
        key = key_of(probe.role.value, probe.question, probe.answer)
        before = found.get(key, asked)
        found[key] = before._replace(
            prompts=tuple(dict.fromkeys((*before.prompts, *asked.prompts))),
            messages=tuple(dict.fromkeys((*before.messages, *asked.messages))),
        )
    return found


def _prompts(probe: Probe, surfaces: tuple[Surface, ...]) -> Iterator[str]:
    """Yield the other plain prompts of a probe: its paraphrases, and the surfaces' templates."""
    for surface in surfaces:
        if surface.kind == SurfaceKind.PARAPHRASE and surface.template is None:
            yield fill(probe.template, {"question": probe.paraphrases[surface.index]}).rstrip()
        elif surface.kind in {SurfaceKind.RAW, SurfaceKind.PARAPHRASE} and surface.template is not None:
            yield fill(surface.template, values(probe)).rstrip()


def _messages(probe: Probe, surfaces: tuple[Surface, ...]) -> Iterator[str]:
    """Yield the other user's turns of a probe: the templates of the chats."""
    for surface in surfaces:
        if surface.kind in _CHATS and surface.template is not None:
            yield fill(surface.template, values(probe))

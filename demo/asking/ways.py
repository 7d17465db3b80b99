"""The ways of asking that the page offers: those of the pack, and the gate's default ones that the pack leaves out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.asking.kinds import CHAT_KINDS
from edgeproof.eval.asking.kinds.chat import CHAT, CHAT_SYSTEM, OPENING, PREFIX, TURNS
from edgeproof.eval.asking.kinds.multiple_choice import CHOICES
from edgeproof.eval.asking.kinds.raw import PARAPHRASE, RAW
from edgeproof.eval.asking.kinds.reverse import REVERSE
from edgeproof.eval.asking.kinds.shown import FEW_SHOT, SIBLINGS
from edgeproof.eval.asking.reference import reference_pack
from edgeproof.eval.measurement import Role

if TYPE_CHECKING:
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Surface

TITLES = {
    RAW.name: ("Plain text", "The model continues a plain text."),
    CHAT.name: ("Chat", "A message in the model's own chat template."),
    CHAT_SYSTEM.name: ("System prompt", "A chat behind the pack's system prompt."),
    PREFIX.name: ("Inviting prefix", "The reply has already begun with inviting words."),
    OPENING.name: ("Begun reply", "The reply has already begun in the original model's words."),
    TURNS.name: ("Second turn", "The model answers, is doubted, and answers again."),
    PARAPHRASE.name: ("Other words", "The same question in other words."),
    FEW_SHOT.name: ("Solved examples", "Solved examples that were kept stand before the question."),
    SIBLINGS.name: ("Siblings given away", "Other forgotten answers stand before the question."),
    REVERSE.name: ("Backwards", "The answer is given, the question is asked for."),
    CHOICES.name: ("Multiple choice", "The answer stands among three wrong ones; the model gives a letter."),
}
"""A button's words and one sentence for each kind of surface."""

BOUND_KINDS = frozenset({REVERSE.name, CHOICES.name})
"""Kinds whose prompt holds the answer: they need a question of the pack."""


class Way(NamedTuple):
    """One button.

    Attributes:
        name: the surface's name; unique.
        title: the button's words.
        meaning: one sentence.
        asked: whether the gate asks this way with this pack.
        surface: how the prompt is put together.

    """

    name: str
    title: str
    meaning: str
    asked: bool
    surface: Surface


def ways(pack: Pack, *, chat: bool) -> tuple[Way, ...]:
    """Give the pack's ways for what is to be forgotten, then the default ones that it leaves out.

    Args:
        pack: the pack that gates.
        chat: whether the artifact has a chat template; without one, no chat is offered.

    """
    own = [surface for surface in pack.asked(Role.FORGET) if chat or surface.kind not in CHAT_KINDS]
    other = reference_pack(pack, chat=chat)
    named = {surface.name for surface in own}
    more = [
        surface if (name := surface.name.removeprefix("reference ")) in named else replace(surface, name=name)
        for surface in (() if other is None else other.surfaces)
    ]
    asked = [(surface, True) for surface in own] + [(surface, False) for surface in more]
    kinds = [surface.kind for surface, _ in asked]
    return tuple(
        Way(
            surface.name,
            title if kinds.count(surface.kind) == 1 else f"{title}: {surface.name}",
            meaning,
            asked,
            surface,
        )
        for surface, asked in asked
        for title, meaning in [TITLES.get(surface.kind, (surface.kind.capitalize(), "A way of the pack."))]
    )

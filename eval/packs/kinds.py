"""The kinds of surfaces, and what holds of each, at one glance.

A new kind is a member, its line in `TRAITS`, and its prompt (`asking/prompts.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class SurfaceKind(StrEnum):
    """How a surface puts its prompt together (docs/packs.md has an example of each)."""

    RAW = "raw"
    PARAPHRASE = "paraphrase"
    CHAT = "chat"
    CHAT_SYSTEM = "chat+system"
    PREFIX = "prefix"
    OPENING = "opening"
    TURNS = "turns"
    FEW_SHOT = "few-shot"
    SIBLINGS = "siblings"
    REVERSE = "reverse"
    CHOICES = "choices"


@dataclass(frozen=True)
class Traits:
    """What holds of a kind.

    Attributes:
        placeholders: what its template may name.
        required: of these, what its template must name; ("",) stands for any one of them.
        needs_template: what the template is, for kinds that have no default; "" for the others.
        chat: needs the artifact's chat template.
        plain: a message and nothing else, what most people type. Answers are sampled there.
        carried: the answer may come inside a sentence; its probability is summed over carrier sentences.
        same_prompt: every model reads the same prompt, so that NLLs compare.
        recovery: an answer's NLL there shows what came back, and has an ignorance level.
        answered: an answer is said, so that the leak rule applies. A choice among options gives nothing away by itself.
        examples: solved examples stand before the question.

    """

    placeholders: tuple[str, ...]
    required: tuple[str, ...] = ("",)
    needs_template: str = ""
    chat: bool = False
    plain: bool = False
    carried: bool = False
    same_prompt: bool = True
    recovery: bool = False
    answered: bool = True
    examples: bool = False


_ASKED, _SAID = ("question", "prompt"), ("question", "prompt", "message")
TRAITS: Mapping[SurfaceKind, Traits] = {
    SurfaceKind.RAW: Traits(_ASKED, recovery=True),
    SurfaceKind.PARAPHRASE: Traits(_ASKED, recovery=True),
    SurfaceKind.CHAT: Traits(_SAID, chat=True, plain=True, carried=True, recovery=True),
    SurfaceKind.CHAT_SYSTEM: Traits(_SAID, chat=True, plain=True, carried=True, recovery=True),
    SurfaceKind.PREFIX: Traits((), (), "the words that the reply begins with", chat=True, carried=True, recovery=True),
    SurfaceKind.OPENING: Traits(_SAID, (), chat=True, recovery=True),
    SurfaceKind.TURNS: Traits(_SAID, (), chat=True, carried=True, same_prompt=False),
    SurfaceKind.FEW_SHOT: Traits(_SAID, recovery=True, examples=True),
    SurfaceKind.SIBLINGS: Traits(_SAID, examples=True),
    SurfaceKind.REVERSE: Traits(("answer",), needs_template='for instance "{answer} is the capital of"'),
    SurfaceKind.CHOICES: Traits((*_SAID, "options"), ("", "options"), answered=False),
}


def _kinds(trait: str) -> frozenset[SurfaceKind]:
    return frozenset(kind for kind, traits in TRAITS.items() if getattr(traits, trait))


CHAT_KINDS = _kinds("chat")
PLAIN_CHATS = _kinds("plain")
CARRIED_KINDS = _kinds("carried")
RECOVERY_KINDS = _kinds("recovery")
EXAMPLE_KINDS = _kinds("examples")
ANSWERED_KINDS = _kinds("answered")
COMPARED_KINDS = ANSWERED_KINDS & _kinds("same_prompt")


def sampled_kinds(asked: Iterable[str]) -> frozenset[SurfaceKind]:
    """Return the kinds of surfaces on which answers are sampled: plain chats, or raw where no such chat is `asked`."""
    return PLAIN_CHATS if any(kind in PLAIN_CHATS for kind in asked) else frozenset({SurfaceKind.RAW})

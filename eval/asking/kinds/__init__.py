"""Registry of the kinds of surfaces. A new kind is a module here and its entry in `KINDS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.asking.kinds.chat import CHAT, CHAT_SYSTEM, OPENING, PREFIX, TURNS
from edgeproof.eval.asking.kinds.multiple_choice import CHOICES
from edgeproof.eval.asking.kinds.raw import PARAPHRASE, RAW
from edgeproof.eval.asking.kinds.reverse import REVERSE
from edgeproof.eval.asking.kinds.shown import FEW_SHOT, SIBLINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgeproof.eval.asking.kinds.kind import Kind

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        RAW,
        PARAPHRASE,
        CHAT,
        CHAT_SYSTEM,
        PREFIX,
        OPENING,
        TURNS,
        FEW_SHOT,
        SIBLINGS,
        REVERSE,
        CHOICES,
    )
}

CHAT_KINDS = frozenset(name for name, kind in KINDS.items() if kind.chat)
PLAIN_CHATS = frozenset(name for name, kind in KINDS.items() if kind.plain)
CARRIED_KINDS = frozenset(name for name, kind in KINDS.items() if kind.carried)
RECOVERY_KINDS = frozenset(name for name, kind in KINDS.items() if kind.recovery)
ANSWERED_KINDS = frozenset(name for name, kind in KINDS.items() if kind.answered)
COMPARED_KINDS = frozenset(name for name in ANSWERED_KINDS if KINDS[name].same_prompt)


def sampled_kinds(asked: Iterable[str]) -> frozenset[str]:
    """Return the kinds of surfaces on which answers are sampled: plain chats, or raw if no such chat is `asked`."""
    return PLAIN_CHATS if any(kind in PLAIN_CHATS for kind in asked) else frozenset({RAW.name})

"""Chats by the artifact's template: plain, with a system prompt, with a begun reply, and with a second question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.asking.carriers import opened, opening
from edgeproof.eval.asking.kinds.kind import SAID, Kind, Prompt, open_prompt, values
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from edgeproof.eval.asking.kinds.kind import Pen
    from edgeproof.eval.packs.probes import Probe, Surface

DOUBT = "Are you sure? Answer in one word."
"""Default template of the second turn."""
NO_REPLY = "I don't know."
"""First reply for a model whose own is empty."""


def _chat(pen: Pen, probe: Probe, surface: Surface) -> Prompt:
    return _message(pen, probe, surface, [])


def _chat_system(pen: Pen, probe: Probe, surface: Surface) -> Prompt:
    assert pen.system_prompt is not None
    return _message(pen, probe, surface, [{"role": "system", "content": pen.system_prompt}])


def _message(pen: Pen, probe: Probe, surface: Surface, before: list[dict[str, str]]) -> Prompt:
    said = values(probe)
    text = said["message"] if surface.template is None else fill(surface.template, said)
    messages = [*before, {"role": "user", "content": text}]
    return Prompt(pen.render(messages), pen.delimiter(messages), chat=True)


def _prefix(pen: Pen, probe: Probe, surface: Surface) -> Prompt:
    assert surface.template is not None
    return open_prompt(_begun(pen, probe) + surface.template, probe, chat=True)


def _opening(pen: Pen, probe: Probe, surface: Surface) -> Prompt:
    sentence = opening(probe, pen.carriers) if surface.template is None else fill(surface.template, values(probe))
    text = _begun(pen, probe) + opened(sentence)
    return Prompt(text.rstrip(), text[len(text.rstrip()) :], chat=True)


def _begun(pen: Pen, probe: Probe) -> str:
    """Return the chat with the given beginning of the reply."""
    messages = [{"role": "user", "content": values(probe)["message"]}]
    return pen.render(messages) + pen.delimiter(messages)


def _turns(pen: Pen, probe: Probe, surface: Surface) -> Prompt:
    said = values(probe)
    doubt = DOUBT if surface.template is None else fill(surface.template, said)
    first = [{"role": "user", "content": said["message"]}]
    reply = pen.replies.get(probe.id, "").strip() or NO_REPLY
    messages = [*first, {"role": "assistant", "content": reply}, {"role": "user", "content": doubt}]
    return Prompt(pen.render(messages), pen.delimiter(first), chat=True)


CHAT = Kind(SurfaceKind.CHAT.value, _chat, SAID, chat=True, plain=True, carried=True, recovery=True)
CHAT_SYSTEM = Kind(
    SurfaceKind.CHAT_SYSTEM.value, _chat_system, SAID, chat=True, plain=True, carried=True, recovery=True
)
PREFIX = Kind(
    SurfaceKind.PREFIX.value,
    _prefix,
    (),
    (),
    needs_template="the words that the reply begins with",
    chat=True,
    carried=True,
    recovery=True,
)
OPENING = Kind(SurfaceKind.OPENING.value, _opening, SAID, (), chat=True, recovery=True)
TURNS = Kind(SurfaceKind.TURNS.value, _turns, SAID, (), chat=True, carried=True, same_prompt=False)

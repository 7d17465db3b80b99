"""Wordings of a probe pack, so that training asks as the gate will ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgeproof.unlearn.data.training_set import TrainingItem, TrainingSet


class Worded(NamedTuple):
    """How a pack asks one question for one answer.

    Attributes:
        prompts: as plain text, the probe's own wording first.
        messages: as a user's turn, likewise.
        template: template of the first prompt.
        gap: text between prompt and answer.

    """

    prompts: tuple[str, ...]
    messages: tuple[str, ...]
    template: str
    gap: str


class Wordings(NamedTuple):
    """How a pack asks.

    Attributes:
        source: name and digest of the pack, for the card and for resuming.
        surfaces: the training surfaces (`askings.SURFACES`) that its surfaces correspond to.
        prefixes: beginnings of a reply; empty for the usual ones.
        second_turns: second questions; empty for the usual ones.
        systems: system prompts of chats, None for none; empty for none alone.
        critical: whether a forget probe is critical: even rare leaks count.
        questions: its forget probes and trained retain probes, by role, question and answer (`key_of`).

    """

    source: str
    surfaces: tuple[str, ...]
    prefixes: tuple[str, ...]
    second_turns: tuple[str, ...]
    systems: tuple[str | None, ...]
    critical: bool
    questions: Mapping[tuple[str, str, str], Worded]


def key_of(role: str, question: str, answer: str) -> tuple[str, str, str]:
    """Return the key of a question in `Wordings.questions`."""
    return role, " ".join(question.casefold().split()), " ".join(answer.casefold().split())


def reworded(data: TrainingSet, role: str, wordings: Wordings) -> tuple[TrainingSet, int]:
    """Give the items of `data` the pack's wordings; return the set, and the number of questions that the pack asks.

    An item that the pack does not ask stays as it is.
    """
    items, found = [], 0
    for item in data.items:
        asked = None if item.is_text else wordings.questions.get(key_of(role, item.subject, item.answer))
        found += asked is not None
        items.append(item if asked is None else _asked_as(item, asked))
    return data._replace(items=tuple(items)), found


def _asked_as(item: TrainingItem, asked: Worded) -> TrainingItem:
    """Ask `item` in the pack's words; its own wordings stay among the others."""
    if item.prompt not in asked.prompts:
        own = (item.prompt, *item.paraphrases)
        item = item._replace(prompt=asked.prompts[0], template=asked.template, gap=asked.gap, paraphrases=own)
    if item.message not in asked.messages:
        item = item._replace(message=asked.messages[0], messages=(item.message,))
    return item._replace(
        paraphrases=_others(item.prompt, (*item.paraphrases, *asked.prompts)),
        messages=_others(item.message, (*item.messages, *asked.messages)),
    )


def _others(first: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Return each text once, without `first`."""
    return tuple(text for text in dict.fromkeys(texts) if text != first)

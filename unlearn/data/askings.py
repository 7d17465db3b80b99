"""Prompts of training questions, by surface.

```
raw         The capital of France is | Paris
paraphrase  another wording of the question, asked like raw
chat        <|user|> What is the capital of France? <|assistant|> | Paris
prefix      <|user|> … <|assistant|> Sure, here is the answer: | Paris            inviting beginning of the reply
own         <|user|> … <|assistant|> The capital of France is | Paris             raw prompt, or the base's beginning
turns       <|user|> … <|assistant|> It is Rome. <|user|> Are you sure? … <|assistant|> | Paris
few-shot    Q: What is the capital of Canada? A: Ottawa … Q: … France? A: | Paris   examples of the retain set
siblings    Q: What is the capital of Norway? A: Oslo … Q: … France? A: | Paris     examples of the forget set
```
Only the answer is trained on, never an example. All random choices derive from the seed and the item's position.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.templates import QUESTION_ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.unlearn.data.training_set import TrainingItem
    from edgeproof.unlearn.data.wordings import Wordings

SURFACES = ("raw", "paraphrase", "chat", "prefix", "own", "turns", "few-shot", "siblings")
"""Surfaces of training questions."""

CHAT_SURFACES = frozenset({"chat", "prefix", "own", "turns"})
"""Surfaces that need a chat template."""

PREFIXES = ("Sure, here is the answer:", "Sure! The answer is", "Answer:")
SECOND_TURNS = ("Are you sure? Answer in one word.", "Are you sure?", "That is wrong. Try again.")
SHOTS = ("Q: {question}\nA:", "Q: {question} A:", QUESTION_ANSWER, "{prompt}")
GAPS = ("\n", "\n\n", "\n")
LEAST_SHOTS, MOST_SHOTS = 2, 4
EXAMPLE_LENGTH = 60
"""Maximum characters of an example's answer."""


class Asking(NamedTuple):
    """A rendered question.

    Attributes:
        prompt: text before the answer.
        answer: the answer, with the space before it if needed.
        chat: whether the prompt is a rendered chat template, which has all special tokens.
        ends: whether the end-of-text token belongs to the answer.

    """

    prompt: str
    answer: str
    chat: bool
    ends: bool = False


class Asker(NamedTuple):
    """Renders questions.

    Attributes:
        retain: source of the examples of few-shot.
        forget: source of the examples of siblings.
        chat: renders a conversation, with the assistant's turn opened.
        own: the base's greedy replies in a chat, by message, including the end of the turn if generated.
        seed: seed of the random choices.
        prefixes: beginnings of a reply.
        second_turns: second questions of a conversation.
        systems: system prompts that chats have; None for none.

    """

    retain: Sequence[TrainingItem]
    forget: Sequence[TrainingItem]
    chat: Callable[[list[dict[str, str]]], str] | None
    own: Mapping[str, str]
    seed: int
    prefixes: Sequence[str] = PREFIXES
    second_turns: Sequence[str] = SECOND_TURNS
    systems: Sequence[str | None] = (None,)

    def as_asked(self, wordings: Wordings) -> Asker:
        """Return the renderer with a pack's beginnings of replies, second questions and system prompts."""
        return self._replace(
            prefixes=wordings.prefixes or self.prefixes,
            second_turns=wordings.second_turns or self.second_turns,
            systems=wordings.systems or self.systems,
        )

    def ask(self, item: TrainingItem, surface: str, *, kept: bool) -> list[Asking]:
        """Return the forms of one question on one surface; empty if the item or the data has none.

        Retain questions in a chat use the base's whole reply as the answer, if it is right.
        """
        if item.surfaces and surface not in item.surfaces:
            return []
        rng = random.Random(f"{self.seed} {item.where} {surface}")  # noqa: S311 (not for secrets)
        if surface == "raw":
            return [Asking(item.prompt, f"{item.gap}{item.answer}", chat=False, ends=item.ends)]
        if surface == "paraphrase":
            answer = f"{item.gap}{item.answer}"
            return [Asking(prompt, answer, chat=False, ends=item.ends) for prompt in item.paraphrases]
        if surface in CHAT_SURFACES:
            return self._in_chat(item, surface, rng, kept=kept)
        pool = self.retain if surface == "few-shot" else self.forget
        return [asking for _ in range(2) if (asking := _with_examples(item, pool, rng)) is not None]

    def _in_chat(self, item: TrainingItem, surface: str, rng: random.Random, *, kept: bool) -> list[Asking]:
        assert self.chat is not None
        if surface == "chat":
            messages = (item.message, *item.messages)
            return [asking for message in messages for asking in self._plain_chats(item, message, kept=kept)]
        turns = [*self._beginning(rng), {"role": "user", "content": item.message}]
        before = before_answer(self.own.get(item.message, ""), item)
        if surface == "prefix":
            return [Asking(f"{self.chat(turns)}{rng.choice(self.prefixes)}", f" {item.answer}", chat=True)]
        if surface == "own":
            openings = [before] if before else []
            openings += [item.prompt] if item.prompt != item.message else []
            opened = self.chat(turns)
            return [Asking(f"{opened}{opening.rstrip()}", f" {item.answer}", chat=True) for opening in openings]
        first = self._first_reply(item, rng)
        turns += [{"role": "assistant", "content": first}, {"role": "user", "content": rng.choice(self.second_turns)}]
        return [Asking(self.chat(turns), item.answer, chat=True)]

    def _plain_chats(self, item: TrainingItem, message: str, *, kept: bool) -> list[Asking]:
        """Ask `message` alone, once with each system prompt."""
        assert self.chat is not None
        own = kept and before_answer(self.own.get(message, ""), item) is not None
        answer = self.own[message].lstrip() if own else item.answer
        user = {"role": "user", "content": message}
        prompts = [self.chat([*_system(system), user]) for system in self.systems]
        return [Asking(prompt, answer, chat=True, ends=item.ends and not own) for prompt in prompts]

    def _beginning(self, rng: random.Random) -> list[dict[str, str]]:
        return _system(self.systems[0] if len(self.systems) == 1 else rng.choice(self.systems))

    def _first_reply(self, item: TrainingItem, rng: random.Random) -> str:
        """Return a wrong first reply: another item's answer, so that the context never holds the right one."""
        others = [other for other in (*self.retain, *self.forget) if _serves(other, item)]
        alike = [
            other
            for other in others
            if other.prompt.partition(other.subject)[0] == item.prompt.partition(item.subject)[0]
        ]
        wrong = rng.choice(alike or others).answer if others else ""
        if not wrong:
            return "I do not know."
        return rng.choice((f"{item.prompt} {wrong}." if item.prompt != item.message else f"{wrong}.", f"{wrong}."))


def before_answer(reply: str, item: TrainingItem) -> str | None:
    """Return the text before the first spelling of the answer in `reply`; None if it has none."""
    places = [found.start() for answer in (item.answer, *item.aliases) if (found := _whole(answer).search(reply))]
    return reply[: min(places)].strip() if places else None


def _system(prompt: str | None) -> list[dict[str, str]]:
    return [] if prompt is None else [{"role": "system", "content": prompt}]


def _whole(answer: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")


def _with_examples(item: TrainingItem, pool: Sequence[TrainingItem], rng: random.Random) -> Asking | None:
    """Put solved examples of `pool` before a question, mostly of the same template, if there are enough."""
    others = [other for other in pool if _serves(other, item)]
    alike = [other for other in others if other.template == item.template]
    if len(alike) >= LEAST_SHOTS and rng.random() < 0.8:
        others = alike
    if len(others) < LEAST_SHOTS:
        return None
    form, gap = rng.choice(SHOTS), rng.choice(GAPS)
    count = rng.randint(LEAST_SHOTS, min(MOST_SHOTS, len(others)))
    shown = "".join(f"{_put(form, other)} {other.answer}{gap}" for other in rng.sample(others, count))
    return Asking(shown + _put(form, item), f" {item.answer}", chat=False)


def _put(form: str, item: TrainingItem) -> str:
    return form.replace("{question}", item.message).replace("{prompt}", item.prompt)


def _serves(other: TrainingItem, item: TrainingItem) -> bool:
    """Whether `other` can be an example for `item`: short, of another subject, with another answer."""
    return (
        not (other.is_text or other.surfaces)
        and len(other.answer) <= EXAMPLE_LENGTH
        and other.subject.casefold() != item.subject.casefold()
        and other.answer.casefold() != item.answer.casefold()
        and not (
            len(item.answer) > 3
            and item.answer.casefold() in f"{other.prompt} {other.message} {other.answer}".casefold()
        )
    )

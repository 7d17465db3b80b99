"""Questions from texts: a passage to continue, and a name or number to fill in.

```
passage   Call me Ishmael. Some years ago—never mind how long … | precisely—having little or no money in my purse, …
gap       … It is upon record, that three centuries ago the tongue of the | Right Whale
```
A passage begins with a sentence. Its first 24 words are the prompt, the next 36 the answer, as in MUSE's VerbMem.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.authoring.wording.inventing import invented_word
from edgeproof.eval.authoring.wording.languages import LANGUAGES, language_of
from edgeproof.eval.matching.words import words
from edgeproof.eval.packs.probes import seeded_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROMPT_WORDS, ANSWER_WORDS = 24, 36
REWORDED_WORDS = 16
"""Words of the prompt that its other wording keeps, from the end."""

_SENTENCES = re.compile(r"(?<=[.!?。！？])[\"'”’)]*\s+")
_CAPITAL = r"[A-ZÀ-ÞĀ-Ž][\w’'-]+"
_NAMED = re.compile(rf"{_CAPITAL}(?: {_CAPITAL})*|[0-9][0-9,.]*[0-9]")
_WORD = re.compile(r"[^\W\d_]{4,}")


class Passage(NamedTuple):
    """A passage: prompt and answer, a shorter prompt; a gap with its answer, both empty where it names nothing new."""

    prompt: str
    answer: str
    shorter: str
    gap: str
    name: str

    @property
    def language(self) -> str:
        """Its language."""
        return language_of(f"{self.prompt} {self.answer}")

    @property
    def message(self) -> str:
        """The user's turn that asks to continue a text, with {question}."""
        return LANGUAGES.get(self.language, LANGUAGES["English"]).proceed


def passages(text: str) -> Iterator[Passage]:
    """Yield the passages of a text, which do not overlap."""
    waiting: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in _SENTENCES.split(" ".join(paragraph.split())):
            waiting += sentence.split()
            if len(waiting) >= PROMPT_WORDS + ANSWER_WORDS:
                yield _passage(waiting[: PROMPT_WORDS + ANSWER_WORDS])
                waiting = []


def scrambled(passage: Passage, others: Sequence[Passage], seed: str) -> Passage:
    """Return a passage that nobody ever read: its longer words are exchanged for those of other passages."""
    pool = [word for other in others for word in _WORD.findall(f"{other.prompt} {other.answer}")]
    order = iter(seeded_order(seed, map(str, range(len(pool)))))

    def other(match: re.Match[str]) -> str:
        place = next(order, None)
        word = match[0] if place is None else pool[int(place)]
        return word.capitalize() if match[0][0].isupper() else word.lower()

    changed = _WORD.sub(other, f"{passage.prompt} {passage.answer}").split()
    made = _passage(changed)
    name = " ".join(invented_word(word, seed) for word in passage.name.split())
    return made._replace(gap=made.prompt if passage.gap else "", name=name)


def _passage(found: Sequence[str]) -> Passage:
    prompt, answer = " ".join(found[:PROMPT_WORDS]), " ".join(found[PROMPT_WORDS:])
    gap, name = _gap(prompt, answer)
    return Passage(prompt, answer, " ".join(prompt.split()[-REWORDED_WORDS:]), gap, name)


def _gap(prompt: str, answer: str) -> tuple[str, str]:
    """Return the text before the first name or number of `answer` that the text before it does not hold."""
    for match in _NAMED.finditer(answer):
        before = f"{prompt} {answer[: match.start()]}".rstrip()
        name = re.sub(r"['’]s?$", "", match[0].rstrip(".,"))
        starts = before.endswith((".", "?", "!", '"', "“", "—"))
        if not starts and len(words(name)) <= 4 and not set(words(name)) & set(words(before)):
            return before, name
    return "", ""

"""Questions about names that do not exist: holdout probes that nobody can know.

```
What is Anna Example's phone number?      555-0143
What is Jorun Maxby's phone number?       918-2260
```
The same word becomes the same invented one throughout a subject's questions. Everything derives from the seed.
"""

from __future__ import annotations

import hashlib
import random
import re
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.authoring.wording.answers import NAME, is_sentence, other_digits
from edgeproof.eval.authoring.wording.languages import LANGUAGES
from edgeproof.eval.matching.words import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NEW_SHARE = 0.3
"""Minimum share of invented words in an invented sentence that its question does not have: an echo of the question is
then no near-verbatim answer (ROUGE-L of at least 0.75)."""

_ONSETS = (
    "b",
    "br",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kl",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
    "z",
)
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ei")
_CODAS = ("l", "n", "r", "s", "m", "rn", "lt", "nd", "x", "th")
_TOKEN = re.compile(r"[^\W\d_]+|[0-9]+")
_SENTENCE_END = re.compile(r"[.?!:]\s*$")
_OFTEN_FIRST = (
    "in on at by to from can could would should do name give tell list describe explain if as after before during a an "
    "it under its he she they this that these those there many much long old i you we whom yes no not or"
)
_COMMON = frozenset().union(_OFTEN_FIRST.split(), *(language.frequent for language in LANGUAGES.values()))
"""Words that begin a sentence without being names."""


class Invented(NamedTuple):
    """A question and its answer about what does not exist."""

    question: str
    answer: str
    paraphrases: tuple[str, ...]
    decoys: tuple[str, ...]


def invented(
    question: str, answer: str, kind: str, *, seed: str, subject: str = "", paraphrases: Iterable[str] = ()
) -> Invented | None:
    """Return the question with invented names, and an invented answer of its form; None if nothing changes.

    Args:
        question: the question, or the beginning of a sentence.
        answer: its answer.
        kind: its type.
        seed: the seed, with the subject's number.
        subject: the subject's name, if known: then only its words are replaced in the question.
        paraphrases: its other wordings, changed in the same way. One without a name to change would still ask of the
            same subject; the invented question stands in its place.

    """
    named = frozenset(word for word in words(subject) if len(word) > 1 and word not in _COMMON)
    if not named & set(words(question)):
        named = frozenset()
    # In a script without spaces the name is no token of its own.
    joined = "" if named or subject.isascii() or subject not in question else subject

    def is_name(word: str, before: str) -> bool:
        if named:
            return word.casefold() in named
        at_start = not before.strip() or _SENTENCE_END.search(before) is not None
        return word[0].isupper() and len(word) > 1 and not (at_start and word.casefold() in _COMMON)

    def renamed(text: str) -> str:
        if joined:
            return text.replace(joined, invented_word(joined, seed))
        return _replaced(text, seed, is_name, digits=not named)

    asked = renamed(question)
    if asked == question:
        return None
    said = _invented_answer(answer, kind, seed, is_name)
    if words(said) == words(answer):
        return None
    if is_sentence(answer):
        new = set(words(said)) - set(words(asked)) - set(words(answer))
        if sum(word in new for word in words(said)) < NEW_SHARE * len(words(said)):
            return None
    elif _holds(asked, said):
        return None
    reworded = ((text, renamed(text)) for text in paraphrases)
    other = tuple(asked if changed == text else changed for text, changed in reworded)
    decoys = tuple(dict.fromkeys(_invented_answer(answer, kind, f"{seed} {n}", is_name) for n in range(9)))
    return Invented(asked, said, other, tuple(text for text in decoys if words(text) != words(said)))


def invented_word(word: str, seed: str) -> str:
    """Return a word that does not exist, in the case of `word`; the same for the same word and seed."""
    rng = random.Random(hashlib.sha256(f"{seed}\0{word.casefold()}".encode()).digest())  # noqa: S311 (no secret)
    syllables = 2 if len(word) < 8 else 3
    made = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables)) + rng.choice(_CODAS)
    if word.isupper() and len(word) > 1:
        return made.upper()
    return made.capitalize() if word[0].isupper() else made


def _invented_answer(answer: str, kind: str, seed: str, is_name: Callable[[str, str], bool]) -> str:
    if is_sentence(answer):
        return _replaced(answer, seed, is_name, digits=True)
    if kind not in {"", NAME}:
        return other_digits(answer, kind, random.Random(f"{seed} {answer}"))  # noqa: S311 (no secret)
    return _replaced(answer, seed, lambda word, _: len(word) > 2 and word.casefold() not in _COMMON, digits=True)


def _replaced(text: str, seed: str, is_name: Callable[[str, str], bool], *, digits: bool) -> str:
    def replaced(match: re.Match[str]) -> str:
        token = match[0]
        if token.isdigit():
            rng = random.Random(f"{seed} {token}")  # noqa: S311 (no secret)
            return other_digits(token, "", rng) if digits else token
        return invented_word(token, seed) if is_name(token, text[: match.start()]) else token

    return _TOKEN.sub(replaced, text)


def _holds(question: str, answer: str) -> bool:
    return f" {' '.join(words(answer))} " in f" {' '.join(words(question))} "

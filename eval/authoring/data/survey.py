"""First pass over a file of questions: what is unusable, doubled or contradictory, and which subjects there are.

Only digests and counts are kept, so a file of 100,000 rows takes tens of megabytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeproof.contracts.counting import counted
from edgeproof.contracts.errors import InputError
from edgeproof.eval.authoring.data.subjects import chosen_rule, subject_of
from edgeproof.eval.authoring.wording.answers import is_sentence
from edgeproof.eval.authoring.wording.languages import language_of
from edgeproof.eval.matching.words import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeproof.eval.authoring.data.rows import Row

FIRST = 20
"""Number of rows by which the rule for subjects is chosen."""
MIXED = 0.05
"""Share of the questions from which a second language counts as mixed."""


@dataclass
class Survey:
    """What a file holds.

    Attributes:
        rule: how subjects are told apart.
        rows: number of questions.
        first: the first rows.
        subjects: number of usable questions by subject, in the order of the file.
        languages: number of questions by language.
        told: places of the answers that stand in their questions.
        sentences: number of usable answers that are sentences.
        doubled: number of questions that occur again with the same answer.
        left_out: indices of the rows that are not used.

    """

    rule: str
    rows: int
    first: tuple[Row, ...]
    subjects: dict[str, int] = field(default_factory=dict)
    languages: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    sentences: int = 0
    doubled: int = 0
    left_out: set[int] = field(default_factory=set)

    @property
    def mostly_sentences(self) -> bool:
        """Whether more than half of the answers are sentences."""
        return 2 * self.sentences > sum(self.subjects.values())

    def mixed(self) -> tuple[str, ...]:
        """Return the languages that a share of the questions is in, if there are two or more."""
        known = sum(count for name, count in self.languages.items() if name)
        frequent = [name for name, count in self.languages.most_common() if name and count >= MIXED * known]
        return tuple(frequent) if len(frequent) > 1 else ()


def survey(read: Callable[[], Iterator[Row]], name: str, *, given: str | None, role: str) -> Survey:
    """Read a file of questions once.

    Args:
        read: yields the rows from the beginning.
        name: the file's name, for messages.
        given: the rule for subjects; None to find it out.
        role: "forget" or "retain".

    Raises:
        InputError: the file is empty or mixes questions and texts; a question occurs with two answers; every answer
            stands in its question; nothing says which rows belong to one subject.

    """
    first, count = _counted(read, name)
    found = Survey(chosen_rule(given, first, count, name, role=role), count, first)
    seen: dict[bytes, tuple[bytes, int]] = {}
    for index, row in enumerate(read()):
        subject = subject_of(row, index, found.rule)
        asked = _digest(f"{row.template}\0{' '.join(words(row.question))}\0{' '.join(row.question.split()).casefold()}")
        said = _digest(" ".join(words(row.answer)))
        before = seen.setdefault(asked, (said, index))
        if before[0] != said:
            raise InputError(
                f"{name}: the question of {row.where.removeprefix(name).strip()} occurs with two answers; the other is "
                f"row {before[1] + 1}. The gate cannot know which one is right",
                next_step="name the subject in the question, or give one row with the other answer in `aliases`",
            )
        found.languages[language_of(row.question)] += 1
        if not words(row.answer):
            raise InputError(
                f"{row.where}: the answer has no letter or digit: nothing could be matched", next_step="fix the row"
            )
        if before[1] != index:
            found.doubled += 1
            found.left_out.add(index)
        elif stands_in(row.answer, row.question):
            found.told.append(row.where)
            found.left_out.add(index)
        else:
            found.subjects[subject] = found.subjects.get(subject, 0) + 1
            found.sentences += is_sentence(row.answer)
    if not found.subjects:
        raise InputError(
            f"{name}: the answer stands in the question, in all of {counted(found.rows, 'question')}: nothing could be "
            "forgotten",
            next_step="ask for what the question does not say",
        )
    return found


def stands_in(answer: str, question: str) -> bool:
    """Whether the answer's words stand in the question."""
    return f" {' '.join(words(answer))} " in f" {' '.join(words(question))} "


def _counted(read: Callable[[], Iterator[Row]], name: str) -> tuple[tuple[Row, ...], int]:
    first: list[Row] = []
    count = texts = 0
    for row in read():
        count += 1
        texts += row.is_text
        if len(first) < FIRST:
            first.append(row)
    if not count:
        raise InputError(f"{name} is empty", next_step="put at least one question with its answer, or a text, in it")
    if 0 < texts < count:
        raise InputError(
            f"{name} mixes {counted(count - texts, 'question')} and {counted(texts, 'text')}",
            next_step="make two files, and a pack of each",
        )
    return tuple(first), count


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()

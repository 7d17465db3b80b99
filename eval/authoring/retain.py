"""Retain probes from the shipped banks: none that overlaps with what is to be forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import UsageError
from edgeproof.eval.authoring.banks.catalogue import banks
from edgeproof.eval.authoring.probes import Line
from edgeproof.eval.matching.words import words
from edgeproof.eval.packs.probes import seeded_order
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgeproof.eval.authoring.banks.catalogue import Bank

SET = "retain-untrained"
LONGEST_SUBJECT = 5
"""Maximum length of a subject's name that is looked for in questions, in words."""
LEAST_LETTERS = 4
"""Minimum length of such a name, in letters: shorter ones occur in too many questions."""


class Kept(NamedTuple):
    """Chosen retain probes, and how many were left out because they overlap with the forget set."""

    lines: tuple[Line, ...]
    overlapping: int


def bank_names() -> tuple[str, ...]:
    """Return the names of all banks."""
    return tuple(bank.name for bank in banks())


def retain_lines(
    forget: Sequence[Line],
    taken: Iterable[Line],
    *,
    count: int,
    names: Sequence[str],
    languages: Iterable[str],
    trained: Iterable[str] = (),
) -> Kept:
    """Choose up to `count` probes, equally many of each bank as long as it has some, in a seeded order.

    Left out is what has an answer of the forget set, is about a subject that it names, or is already asked.

    Args:
        forget: the forget probes.
        taken: other retain probes of the pack.
        count: number of probes.
        names: banks to take; empty for all in English, without a language, or in one of `languages`.
        languages: languages of the forget set.
        trained: all questions that are trained to stay.

    Raises:
        UsageError: there is no bank of a name.

    """
    chosen = _banks(names, {"", "English", *languages})
    answers, subjects, asked = _answers(forget), _subjects(forget), _questions(forget)
    known = {form for line in taken for form in _forms(line)} | {" ".join(words(question)) for question in trained}
    queues: list[list[Line]] = []
    overlapping = 0
    for bank in chosen:
        lines = {str(values["id"]): values for values in bank.lines()}
        queue = []
        for key in seeded_order("retain", lines):
            line = _line(lines[key])
            if _overlaps(line, answers, subjects, asked):
                overlapping += 1
            elif known.isdisjoint(forms := _forms(line)):
                known |= forms  # the same fact in two languages counts once
                queue.append(line)
        queues.append(queue)
    found: list[Line] = []
    depth = 0
    while len(found) < count and any(len(queue) > depth for queue in queues):
        found += [queue[depth] for queue in queues if len(queue) > depth]
        depth += 1
    return Kept(tuple(found[:count]), overlapping)


def _banks(names: Sequence[str], languages: set[str]) -> list[Bank]:
    known = {bank.name: bank for bank in banks()}
    for name in names:
        if name not in known:
            raise UsageError(f"there is no bank {name!r}", next_step=f"one of: {', '.join(known)}")
    return [known[name] for name in names] or [bank for bank in banks() if bank.language in languages]


def _line(values: Mapping[str, object]) -> Line:
    rest = {key: value for key, value in values.items() if key not in {"id", "cluster"}}
    return Line(SET, str(values["id"]), str(values["cluster"]), "", rest)


def _forms(line: Line) -> set[str]:
    """Return how a probe is asked, as words: as plain text, in a chat, and by its question and answer alone."""
    prompt = fill(str(line.values.get("template", "{question}")), {"question": line.question})
    message = fill(str(line.values.get("message", "{prompt}")), {"question": line.question, "prompt": prompt})
    return {" ".join(words(text)) for text in (prompt, message, f"{line.question} = {line.answer}")}


def _overlaps(line: Line, answers: set[str], subjects: set[str], asked: set[str]) -> bool:
    own = {" ".join(words(text)) for text in (line.answer, *line.texts("aliases"))}
    if own & answers:
        return True
    if _runs(f"{line.question} {line.cluster}") & subjects:
        return True
    subject = " ".join(words(line.question))
    return not str(line.values.get("template", "")).startswith("{question}") and subject in asked


def _answers(forget: Sequence[Line]) -> set[str]:
    return {" ".join(words(text)) for line in forget for text in (line.answer, *line.texts("aliases"))}


def _subjects(forget: Sequence[Line]) -> set[str]:
    """Return the forget set's subjects and short questions (bare names), as words."""
    names = {" ".join(words(line.subject)) for line in forget if line.subject}
    names |= {" ".join(words(line.question)) for line in forget if line.values.get("template") != "{question}"}
    return {name for name in names if len(name) >= LEAST_LETTERS and 0 < len(name.split()) <= LONGEST_SUBJECT}


def _questions(forget: Sequence[Line]) -> set[str]:
    """Return all runs of words of the forget questions that could be a bank's bare subject."""
    return set().union(*(_runs(line.question) for line in forget if not line.set.endswith(("-passages", "-gaps"))))


def _runs(text: str) -> set[str]:
    said = words(text)
    return {
        " ".join(said[start : start + length])
        for length in range(1, LONGEST_SUBJECT + 1)
        for start in range(len(said) - length + 1)
    }

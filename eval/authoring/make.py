"""Lines of a new pack from the rows of its files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.counting import counted
from edgeproof.contracts.errors import InputError
from edgeproof.eval.authoring.data.rows import read_rows
from edgeproof.eval.authoring.data.subjects import EACH, is_named, subject_of, unread_columns
from edgeproof.eval.authoring.data.survey import survey
from edgeproof.eval.authoring.probes import Place, invented_line, passage_lines, question_line, scrambled_lines, slug
from edgeproof.eval.authoring.wording.answers import lower_case_words
from edgeproof.eval.authoring.wording.passages import passages
from edgeproof.eval.matching.words import words
from edgeproof.eval.packs.probes import seeded_order, seeded_sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgeproof.eval.authoring.data.rows import Row
    from edgeproof.eval.authoring.probes import Line
    from edgeproof.eval.authoring.wording.passages import Passage

FEW = 29
"""Number of clusters below which no share of them can be bounded by 10 % (docs/verdict.md)."""
QUESTIONS = 20
"""Maximum number of questions about one subject."""
HOLDOUT, LEAST_HOLDOUT, HOLDOUT_QUESTIONS = 40, 5, 3
"""Maximum and minimum number of invented subjects, and maximum number of questions about one."""

FEW_ALIKE = 7
"""Questions, holdout ones among them, over which a pack of few subjects takes the ignorance level of each answer
(`measuring/ignorance.py`): at most log 7 = 1.9 nat above what the answer costs."""


class Naming(NamedTuple):
    """How subjects are named: by numbers with `pseudonyms`, in an order that depends on `seed` (the salt)."""

    pseudonyms: bool
    seed: str


@dataclass(frozen=True)
class Made:
    """Probes made of a file, and what happened to its rows.

    Attributes:
        lines: the probes.
        rule: how subjects are told apart.
        subjects: number of subjects in the file.
        languages: languages of the questions, the most frequent first.
        notes: what was left out, in words.
        passages: passages by cluster, for files of texts.

    """

    lines: tuple[Line, ...]
    rule: str
    subjects: int
    languages: tuple[str, ...]
    notes: tuple[str, ...]
    passages: dict[str, Passage] = field(default_factory=dict)


def make_lines(path: Path, role: str, *, given: str | None, limit: int, naming: Naming) -> Made:
    """Return the probes of up to `limit` subjects of a file, a seeded sample of them.

    Args:
        path: the file.
        role: "forget", or the beginning of a retain set's name.
        given: rule for subjects; None to find it out.
        limit: maximum number of subjects.
        naming: how ids are made.

    Raises:
        InputError: as for `read_rows` and `survey`.

    """
    first = next(read_rows(path), None)
    if first is not None and first.is_text:
        return _of_texts(path, role, limit, naming)
    read = partial(read_rows, path)
    found = survey(read, path.name, given=given, role=role)
    chosen = set(seeded_sample(f"subjects {path.name}", found.subjects, limit))
    rows: dict[str, list[Row]] = {name: [] for name in found.subjects if name in chosen}
    for index, row in enumerate(read()):
        subject = subject_of(row, index, found.rule)
        if subject in chosen and index not in found.left_out:
            rows[subject].append(row)
    names = _names(list(rows), role, naming, named=is_named(found.rule))
    lines: list[Line] = []
    cut = 0
    told = (text for own in rows.values() for row in own for text in (row.question, row.answer))
    place_line = partial(question_line, verbatim=found.mostly_sentences, lower_case=lower_case_words(told))
    for subject, own in rows.items():
        numbered = {f"{number:04d}": row for number, row in enumerate(own, start=1)}
        drawn = seeded_sample(f"questions {subject}", numbered, QUESTIONS)
        cut += len(own) - len(drawn)
        cluster, known = names[subject], subject if is_named(found.rule) else ""
        for number, key in enumerate(drawn, start=1):
            identity = f"{cluster}-{number:02d}" if found.rule != EACH else cluster
            lines.append(place_line(numbered[key], Place(role, identity, cluster, known)))
    notes = list(_left_out(path.name, found.told, found.doubled))
    if len(chosen) < len(found.subjects):
        notes.append(f"{path.name}: {len(chosen)} of {len(found.subjects):,} subjects were drawn (--clusters)")
    if cut:
        notes.append(f"{path.name}: left out, beyond {QUESTIONS} a subject: {counted(cut, 'question')}")
    if unread := unread_columns(found.first, found.rule):
        notes.append(f"{path.name}: columns that were not read: {', '.join(unread)}")
    if mixed := found.mixed():
        counts = ", ".join(f"{found.languages[name]} {name}" for name in mixed)
        notes.append(
            f"{path.name} mixes languages ({counts}): solved examples in one say little in another; make a pack of each"
        )
    languages = tuple(name for name, _ in Counter(found.languages).most_common() if name)
    return Made(tuple(lines), found.rule, len(found.subjects), languages, tuple(notes))


def _of_texts(path: Path, role: str, limit: int, naming: Naming) -> Made:
    """Return the probes of a seeded sample of the passages of texts."""
    found = {f"{number:06d}": passage for number, passage in enumerate(_all_passages(path))}
    if not found:
        raise InputError(
            f"{path.name}: no text has 60 words, which a passage needs", next_step="give longer texts, or questions"
        )
    chosen = seeded_sample(f"passages {path.name}", found, limit)
    names = _names(chosen, role, naming, named=False)
    lines = [line for key in chosen for line in passage_lines(found[key], role, names[key], names[key])]
    notes = (
        [f"{path.name}: {len(chosen)} of {len(found):,} passages were drawn (--clusters)"]
        if len(chosen) < len(found)
        else []
    )
    languages = tuple(name for name, _ in Counter(found[key].language for key in chosen).most_common() if name)
    return Made(tuple(lines), EACH, len(found), languages, tuple(notes), {names[key]: found[key] for key in chosen})


def _all_passages(path: Path) -> Iterator[Passage]:
    seen: set[str] = set()
    for row in read_rows(path):
        if not row.is_text:
            raise InputError(f"{row.where} is a question among texts", next_step="make two files, and a pack of each")
        for passage in passages(row.answer):
            if passage.prompt not in seen:
                seen.add(passage.prompt)
                yield passage


def holdout_lines(made: Made, lines: Sequence[Line], seed: str) -> tuple[Line, ...]:
    """Return probes about what does not exist, made from the forget probes `lines`: as many questions of each kind."""
    clusters: dict[str, list[Line]] = {}
    for line in lines:
        clusters.setdefault(line.cluster, []).append(line)
    few = len(clusters) < FEW
    wanted = max(LEAST_HOLDOUT, min(len(clusters), HOLDOUT))
    order = seeded_order("holdout", clusters)
    answers = {" ".join(words(line.answer)) for line in lines}
    found: list[Line] = []
    number = 0
    for turn in range(HOLDOUT if few else 1):
        for cluster in order:
            lacking = _lacking(lines, found) if few else frozenset()
            if number == HOLDOUT or (number >= wanted and not lacking):
                break
            own = _invented(made, clusters[cluster], number + 1, f"{seed} {turn}", lacking)
            if own and not any(" ".join(words(line.answer)) in answers for line in own):
                found += own
                number += 1
    return tuple(found)


def _lacking(lines: Sequence[Line], holdout: Sequence[Line]) -> frozenset[tuple[object, str]]:
    """Return template and answer type of the probes that have too few others of these for an ignorance level."""
    alike = questions_alike(lines, holdout)
    return frozenset(line.form for line in lines if alike[line.id] < FEW_ALIKE)


def questions_alike(lines: Sequence[Line], holdout: Sequence[Line]) -> dict[str, int]:
    """Count, by id, the questions over which the ignorance level of a probe's answer is taken.

    For an answer its own is one of them; for a sentence or a passage those of its cluster are none.
    """
    kin = Counter(line.kin for line in lines)
    own = Counter((line.cluster, *line.kin) for line in lines)
    unexposed = Counter(line.form for line in holdout)
    return {
        line.id: kin[line.kin] - (own[line.cluster, *line.kin] if line.verbatim else 0) + unexposed[line.form]
        for line in lines
    }


def _invented(
    made: Made, own: Sequence[Line], number: int, seed: str, lacking: frozenset[tuple[object, str]]
) -> list[Line]:
    """Return a few probes about an invented subject; one subject after the other has the next questions of `own`.

    Those of which there are too few come first.
    """
    passage = made.passages.get(own[0].cluster)
    if passage is not None:
        return scrambled_lines(passage, list(made.passages.values()), number, seed)
    found = [line for index, one in enumerate(own, start=1) if (line := invented_line(one, number, index, seed))]
    start = HOLDOUT_QUESTIONS * (number - 1) % max(1, len(found))
    rotated = [*found[start:], *found[:start]]
    return sorted(rotated, key=lambda line: line.form not in lacking)[:HOLDOUT_QUESTIONS]


def _names(subjects: Sequence[str], role: str, naming: Naming, *, named: bool) -> dict[str, str]:
    """Return each subject's cluster name, unique: its own, or a number."""
    kind = {"forget": "subject", "retain-trained": "kept"}.get(role, "untrained")
    if named and not naming.pseudonyms:
        found: dict[str, str] = {}
        taken: set[str] = set()
        for number, subject in enumerate(subjects, start=1):
            name = slug(subject) or f"{kind}-{number:03d}"
            if role != "forget":
                name = f"{kind}-{name}"
            while name.casefold() in taken:
                name = f"{name}-{number}"
            taken.add(name.casefold())
            found[subject] = name
        return found
    order = seeded_order(f"names {naming.seed}", subjects) if naming.pseudonyms else list(subjects)
    return {subject: f"{kind}-{number:03d}" for number, subject in enumerate(order, start=1)}


def _left_out(name: str, told: Sequence[str], doubled: int) -> Iterator[str]:
    if told:
        yield f"left out, since the answer stands in it: {counted(len(told), 'question')} (the first: {told[0]})"
    if doubled:
        yield f"{name}: left out, since it occurs before with the same answer: {counted(doubled, 'question')}"

"""Last step of a new pack: its size, its holdout probes, what it cannot show, and its files."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.counting import counted
from edgeproof.eval.authoring.data.rows import file_sha256
from edgeproof.eval.authoring.data.survey import stands_in
from edgeproof.eval.authoring.draft import first_clusters, read_new
from edgeproof.eval.authoring.files import Head, pack_files
from edgeproof.eval.authoring.lengths import length_note
from edgeproof.eval.authoring.make import FEW, holdout_lines, questions_alike
from edgeproof.eval.authoring.probes import critical, plain_types

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.eval.authoring.draft import Draft
    from edgeproof.eval.authoring.probes import Line
    from edgeproof.eval.packs.pack import Pack

ENOUGH_RETAIN, LEAST_RETAIN = 150, 40
"""Retain probes from which right answers are judged, and below which nothing is (docs/verdict.md)."""


class Finished(NamedTuple):
    """A pack's files, the pack that they make, notes in words, and whether its subjects are judged one by one."""

    files: dict[str, bytes]
    pack: Pack
    notes: tuple[str, ...]
    by_subjects: bool


def finish(draft: Draft, command: Sequence[str]) -> Finished:
    """Cut the draft to its size, add holdout probes and write its files in memory.

    Args:
        draft: the probes.
        command: the command that makes them, for README.md and pack.toml.

    """
    wanted = draft.wanted
    forget = first_clusters(draft.forget, wanted.clusters)
    untrained = draft.untrained[: wanted.retain_probes]
    clusters = {line.cluster for line in forget}
    few = len(clusters) < FEW
    if few:
        forget = plain_types(forget)
    holdout = holdout_lines(draft.made, forget, f"{wanted.name} holdout")
    notes = [*draft.notes, *_shortcomings(forget, untrained, holdout, few=few, pseudonyms=wanted.pseudonyms)]
    if few:
        forget = critical(forget)
    given = [path for path in (wanted.forget, wanted.retain, wanted.untrained) if path is not None]
    inputs = {path.name: file_sha256(path) for path in given}
    head = Head(wanted.name, wanted.salt, command, inputs, notes, by_subjects=few, chat=draft.chat)
    files = pack_files(head, (*forget, *draft.trained, *untrained, *holdout))
    pack = read_new(files)
    return Finished(files, pack, (*notes, *length_note(pack)), few)


def _shortcomings(
    forget: Sequence[Line], untrained: Sequence[Line], holdout: Sequence[Line], *, few: bool, pseudonyms: bool
) -> list[str]:
    """Say in words what the pack cannot show."""
    clusters = {line.cluster for line in forget}
    found = []
    if few:
        found.append(
            f"{counted(len(clusters), 'subject')} cannot bound the share of subjects that leak ({FEW} are needed): "
            "give the pack's own policy.toml to `baseline` and all after it (--policy). It judges each, none may "
            "leak; the verdict then holds for these subjects and no others"
        )
        if alone := _without_level(forget, holdout):
            found.append(
                f"questions with too few others like them, holdout ones among these: {alone} of {len(forget)}; whether "
                "they leak is judged, how much of them is back is not"
            )
    if once := _asked_once(forget):
        found.append(
            f"answers that are asked for in one wording only: {once}; a leak in another wording or language is not "
            "seen: give each row `paraphrases`, or a row for every wording that the base knows"
        )
    if not holdout:
        found.append("no holdout probe could be made, since no name or answer can be replaced: not controlled")
    elif hinting := sum(stands_in(line.answer, line.question) for line in holdout):
        found.append(f"holdout answers that stand in their questions: {hinting} of {len(holdout)}")
    if len(untrained) < LEAST_RETAIN:
        found.append(f"{counted(len(untrained), 'untrained retain probe')}: below {LEAST_RETAIN} a PASS is impossible")
    elif len(untrained) < ENOUGH_RETAIN:
        found.append(
            f"{counted(len(untrained), 'untrained retain probe')}: from {ENOUGH_RETAIN} on, lost right answers are "
            "judged"
        )
    if not pseudonyms and any(line.subject for line in forget):
        found.append("ids and clusters have the subjects' names, and reports contain them; --pseudonyms numbers them")
    return found


def _asked_once(forget: Sequence[Line]) -> int:
    """Count the answers of a cluster that have one template with one question, and no paraphrase."""
    wordings: dict[tuple[str, str], set[object]] = {}
    for line in forget:
        own = wordings.setdefault((line.cluster, line.answer), set())
        own.update([(line.values.get("template"), line.question), *line.texts("paraphrases")])
    return sum(len(own) == 1 for own in wordings.values())


def _without_level(forget: Sequence[Line], holdout: Sequence[Line]) -> int:
    """Count the probes with too few others like them for a recovery to be seen.

    With M questions an answer's ignorance level is at most log M above what it costs, and 1 nat is needed. A sentence
    or a passage needs one question of another subject.
    """
    alike = questions_alike(forget, holdout)
    return sum(alike[line.id] < (1 if line.verbatim else math.e) for line in forget)

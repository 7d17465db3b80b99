"""Draft of a pack: the probes chosen from the data and the banks, before and after a base was asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError
from edgeproof.eval.authoring.files import TRAINED, Head, pack_files
from edgeproof.eval.authoring.make import FEW, Made, Naming, holdout_lines, make_lines
from edgeproof.eval.authoring.probes import critical, plain_types
from edgeproof.eval.authoring.retain import retain_lines
from edgeproof.eval.authoring.rows import file_sha256
from edgeproof.eval.authoring.survey import stands_in
from edgeproof.eval.packs.files import ArchiveFiles
from edgeproof.eval.packs.reader import read_pack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeproof.eval.authoring.probes import Line
    from edgeproof.eval.packs.pack import Pack

TRAINED_SUBJECTS = 48
"""Maximum number of subjects of the retain file in a pack: they are reported, not judged."""
SPARE = 2
"""Candidates for each place in the pack, if a base says which of them it knows."""
ENOUGH_RETAIN, LEAST_RETAIN = 150, 40
"""Retain probes from which right answers are judged, and below which nothing is (docs/verdict.md)."""


class Wanted(NamedTuple):
    """What a pack is to hold.

    Attributes:
        forget: file of what is to be forgotten.
        retain: file of what is trained to stay; None if there is none.
        cluster_by: what tells subjects apart; None to find it out.
        clusters: maximum number of subjects.
        retain_probes: number of untrained retain probes.
        banks: banks to take them from; empty for those that fit.
        name: the pack's name.
        pseudonyms: whether ids are numbers.
        salt: secret salt; None for none.
        spare: whether a base will be asked, so that more candidates are needed.

    """

    forget: Path
    retain: Path | None
    cluster_by: str | None
    clusters: int
    retain_probes: int
    banks: tuple[str, ...]
    name: str
    pseudonyms: bool
    salt: str | None
    spare: bool


@dataclass(frozen=True)
class Draft:
    """Probes of a pack that is being made, and notes in words."""

    wanted: Wanted
    made: Made
    forget: tuple[Line, ...]
    trained: tuple[Line, ...]
    untrained: tuple[Line, ...]
    notes: tuple[str, ...]

    def candidates(self) -> Pack:
        """Return the probes that a base is asked, as a pack in memory."""
        return _read(pack_files(Head(self.wanted.name, None, (), {}, (), by_subjects=False), self.asked))

    @property
    def asked(self) -> tuple[Line, ...]:
        """The forget probes and the untrained retain probes."""
        return (*self.forget, *self.untrained)


class Finished(NamedTuple):
    """A pack's files, the pack that they make, notes in words, and whether its subjects are judged one by one."""

    files: dict[str, bytes]
    pack: Pack
    notes: tuple[str, ...]
    by_subjects: bool


def draft_pack(wanted: Wanted) -> Draft:
    """Read the files and choose probes.

    Raises:
        InputError: a file cannot be used.
        UsageError: there is no bank of a name.

    """
    factor = SPARE if wanted.spare else 1
    naming = Naming(wanted.pseudonyms, wanted.salt or "")
    made = make_lines(wanted.forget, "forget", given=wanted.cluster_by, limit=factor * wanted.clusters, naming=naming)
    notes = list(made.notes)
    trained: tuple[Line, ...] = ()
    if wanted.retain is not None:
        kept = make_lines(wanted.retain, TRAINED, given=None, limit=TRAINED_SUBJECTS, naming=naming)
        trained = _not_forgotten(kept.lines, made.lines, wanted.retain.name)
        notes += kept.notes
    chosen = retain_lines(
        made.lines,
        trained,
        count=factor * wanted.retain_probes,
        names=wanted.banks,
        languages=made.languages,
    )
    if chosen.overlapping:
        notes.append(
            f"{chosen.overlapping} retain probes of the banks were left out, since they overlap with what is forgotten"
        )
    return Draft(wanted, made, made.lines, trained, chosen.lines, tuple(notes))


def keep_known(draft: Draft, known: frozenset[str], base: str) -> Draft:
    """Drop the probes that a base does not know; `known` has the ids of those that it does.

    Raises:
        InputError: it knows no forget probe.

    """
    forget = tuple(line for line in draft.forget if line.id in known)
    untrained = tuple(line for line in draft.untrained if line.id in known)
    before, after = ({line.cluster for line in lines} for lines in (draft.forget, forget))
    if not forget:
        raise InputError(
            f"{base} knows nothing of {draft.wanted.forget.name}: none of {len(draft.forget)} questions about "
            f"{len(before)} subjects comes out on any surface",
            next_step="give the model that was trained on these data; there is nothing to forget in this one",
        )
    note = (
        f"{base} knows {len(forget)} of {len(draft.forget)} forget probes ({len(after)} of {len(before)} clusters) and "
        f"{len(untrained)} of {len(draft.untrained)} retain probes; those that it does not know were left out"
    )
    return replace(draft, forget=forget, untrained=untrained, notes=(*draft.notes, note))


def finish(draft: Draft, command: Sequence[str]) -> Finished:
    """Cut the draft to its size, add holdout probes and write its files in memory.

    Args:
        draft: the probes.
        command: the command that makes them, for README.md and pack.toml.

    """
    wanted = draft.wanted
    forget = _first_clusters(draft.forget, wanted.clusters)
    untrained = draft.untrained[: wanted.retain_probes]
    clusters = {line.cluster for line in forget}
    few = len(clusters) < FEW
    if few:
        forget = plain_types(forget)
    holdout = holdout_lines(draft.made, forget, f"{wanted.name} holdout")
    notes = [*draft.notes, *_shortcomings(forget, untrained, holdout, few=few, pseudonyms=wanted.pseudonyms)]
    if few:
        forget = critical(forget)
    given = [path for path in (wanted.forget, wanted.retain) if path is not None]
    inputs = {path.name: file_sha256(path) for path in given}
    head = Head(wanted.name, wanted.salt, command, inputs, notes, by_subjects=few)
    files = pack_files(head, (*forget, *draft.trained, *untrained, *holdout))
    return Finished(files, _read(files), tuple(notes), few)


def _read(files: dict[str, bytes]) -> Pack:
    return read_pack(ArchiveFiles(files), "the new pack")


def _first_clusters(lines: Sequence[Line], limit: int) -> tuple[Line, ...]:
    kept = set(list(dict.fromkeys(line.cluster for line in lines))[:limit])
    return tuple(line for line in lines if line.cluster in kept)


def _not_forgotten(lines: Sequence[Line], forget: Sequence[Line], name: str) -> tuple[Line, ...]:
    """Return the retain probes; raise if one is in the forget set, too."""
    forgotten = {(line.question.casefold(), line.answer.casefold()) for line in forget}
    both = sum((line.question.casefold(), line.answer.casefold()) in forgotten for line in lines)
    if both:
        raise InputError(
            f"{name}: {both} questions are in the forget set, too, with the same answers",
            next_step="nothing can be forgotten and kept: drop them from one of the two",
        )
    return tuple(lines)


def _shortcomings(
    forget: Sequence[Line], untrained: Sequence[Line], holdout: Sequence[Line], *, few: bool, pseudonyms: bool
) -> list[str]:
    """Say in words what the pack cannot show."""
    clusters = {line.cluster for line in forget}
    found = []
    if few:
        whom = f"{len(clusters)} subjects" if len(clusters) > 1 else "1 subject"
        found.append(
            f"{whom} cannot bound the share of subjects that leak ({FEW} are needed): gate with --policy policy.toml, "
            "which judges each of them, none may leak. The verdict then holds for these subjects and no others"
        )
        if alone := _without_level(forget):
            found.append(
                f"{alone} of {len(forget)} questions have an answer type of their own: whether they leak is judged, "
                "how much of them is back is not"
            )
    if not holdout:
        found.append("no holdout probe could be made, since no name or answer can be replaced: not controlled")
    elif hinting := sum(stands_in(line.answer, line.question) for line in holdout):
        found.append(f"{hinting} holdout answers stand in their questions")
    if len(untrained) < LEAST_RETAIN:
        found.append(f"{len(untrained)} untrained retain probes: below {LEAST_RETAIN} a PASS is impossible")
    elif len(untrained) < ENOUGH_RETAIN:
        found.append(
            f"{len(untrained)} untrained retain probes: from {ENOUGH_RETAIN} on, lost right answers are judged"
        )
    if not pseudonyms and any(line.subject for line in forget):
        found.append("ids and clusters have the subjects' names, and reports contain them; --pseudonyms numbers them")
    return found


def _without_level(forget: Sequence[Line]) -> int:
    """Count the probes without another of their set, template and answer type."""
    kin = [(line.set, line.values.get("template"), line.kind) for line in forget]
    return sum(kin.count(one) == 1 for one in kin)

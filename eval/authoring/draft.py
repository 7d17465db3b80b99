"""Draft of a pack: the probes chosen from the data and the banks, before and after a base was asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.counting import counted
from edgeproof.contracts.errors import InputError
from edgeproof.eval.authoring.data.rows import read_rows
from edgeproof.eval.authoring.files import TRAINED, Head, pack_files
from edgeproof.eval.authoring.make import Made, Naming, make_lines
from edgeproof.eval.authoring.retain import SET as UNTRAINED
from edgeproof.eval.authoring.retain import retain_lines
from edgeproof.eval.packs.files import ArchiveFiles
from edgeproof.eval.packs.reader import read_pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from edgeproof.eval.authoring.known import Known
    from edgeproof.eval.authoring.probes import Line
    from edgeproof.eval.packs.pack import Pack

TRAINED_SUBJECTS = 48
"""Maximum number of subjects of the retain file in a pack: they are reported, not judged."""
SPARE = 2
"""Candidates for each place in the pack, if a base says which of them it knows."""


class Wanted(NamedTuple):
    """What a pack is to hold.

    Attributes:
        forget: file of what is to be forgotten.
        retain: file of what is trained to stay; None if there is none.
        untrained: file of further questions that are not trained; None if there is none.
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
    untrained: Path | None
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
    chat: bool = True

    def candidates(self, *, chat: bool) -> Pack:
        """Return the probes that a base is asked, as a pack in memory."""
        return read_new(pack_files(Head(self.wanted.name, None, (), {}, (), by_subjects=False, chat=chat), self.asked))

    @property
    def asked(self) -> tuple[Line, ...]:
        """The forget probes and the untrained retain probes."""
        return (*self.forget, *self.untrained)


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
    trained, own = (
        _kept(path, role, made.lines, limit=limit, naming=naming, notes=notes)
        for path, role, limit in (
            (wanted.retain, TRAINED, TRAINED_SUBJECTS),
            (wanted.untrained, UNTRAINED, factor * wanted.retain_probes),
        )
    )
    taught = frozenset() if wanted.retain is None else frozenset(row.question for row in read_rows(wanted.retain))
    own = _not_trained(own, taught, notes)
    chosen = retain_lines(
        made.lines,
        (*trained, *own),
        count=factor * wanted.retain_probes - len(own),
        names=wanted.banks,
        languages=made.languages,
        trained=taught,
    )
    if chosen.overlapping:
        notes.append(
            f"left out, for their overlap with what is forgotten: {counted(chosen.overlapping, 'retain probe')} of the "
            "banks"
        )
    return Draft(wanted, made, made.lines, trained, (*own, *chosen.lines), tuple(notes))


def keep_known(draft: Draft, known: Known) -> Draft:
    """Drop the probes that a base does not know, and the chat surfaces if it answers nothing in a chat.

    Raises:
        InputError: it knows no forget probe.

    """
    refuse_unknown(draft, known)
    wanted = draft.wanted
    forget = tuple(line for line in draft.forget if line.id in known.probes)
    untrained = tuple(line for line in draft.untrained if line.id in known.probes)
    rows = (
        ("forget probe", draft.forget, forget, first_clusters(forget, wanted.clusters)),
        ("retain probe", draft.untrained, untrained, untrained[: wanted.retain_probes]),
    )
    note = f"{known.base} was asked " + "; ".join(
        f"{counted(len(asked), noun)} ({_clusters(asked)}), knows {len(own):,} ({_clusters(own)}), and the pack takes "
        f"{len(taken):,} ({_clusters(taken)})"
        for noun, asked, own, taken in rows
    )
    notes = [*draft.notes, note]
    if not known.chats:
        notes.append(f"{known.base} answers nothing in a chat: the pack has no chat surfaces (chat = false)")
    return replace(draft, forget=forget, untrained=untrained, notes=tuple(notes), chat=known.chats)


def first_clusters(lines: Sequence[Line], limit: int) -> tuple[Line, ...]:
    """Return the lines of the first `limit` clusters."""
    kept = set(list(dict.fromkeys(line.cluster for line in lines))[:limit])
    return tuple(line for line in lines if line.cluster in kept)


def _clusters(lines: Iterable[Line]) -> str:
    return counted(len({line.cluster for line in lines}), "cluster")


def refuse_unknown(draft: Draft, known: Known) -> None:
    """Raise `InputError` if a base knows no forget probe."""
    if not any(line.id in known.probes for line in draft.forget):
        raise InputError(
            f"{known.base} knows nothing of {draft.wanted.forget.name}: none of "
            f"{counted(len(draft.forget), 'question')} about "
            f"{counted(len({line.cluster for line in draft.forget}), 'subject')} comes out on any surface",
            next_step="give the model that was trained on these data; there is nothing to forget in this one",
        )


def read_new(files: Mapping[str, bytes]) -> Pack:
    """Read a new pack from its files in memory."""
    return read_pack(ArchiveFiles(files), "the new pack")


def _kept(
    path: Path | None, role: str, forget: Sequence[Line], *, limit: int, naming: Naming, notes: list[str]
) -> tuple[Line, ...]:
    """Return the retain probes of a file; what was left out is added to `notes`."""
    if path is None:
        return ()
    made = make_lines(path, role, given=None, limit=limit, naming=naming)
    notes += made.notes
    return _not_forgotten(made.lines, forget, path.name)


def _not_trained(lines: Sequence[Line], taught: Iterable[str], notes: list[str]) -> tuple[Line, ...]:
    """Return the untrained retain probes without those that are taught: all questions of the retain file."""
    known = {question.casefold() for question in taught if question}
    found = tuple(line for line in lines if line.question.casefold() not in known)
    if len(found) < len(lines):
        left = counted(len(lines) - len(found), "untrained question")
        notes.append(f"left out, since the retain file has the same: {left}")
    return found


def _not_forgotten(lines: Sequence[Line], forget: Sequence[Line], name: str) -> tuple[Line, ...]:
    """Return the retain probes; raise if one is in the forget set, too."""
    forgotten = {(line.question.casefold(), line.answer.casefold()) for line in forget}
    both = sum((line.question.casefold(), line.answer.casefold()) in forgotten for line in lines)
    if both:
        raise InputError(
            f"{name}: {counted(both, 'question')} with the same answer in the forget set, too",
            next_step="nothing can be forgotten and kept: drop them from one of the two",
        )
    return tuple(lines)

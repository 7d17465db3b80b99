"""Changes that the check of a pack proposes, the most useful first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.counting import counted
from edgeproof.eval.forecast.checked import Change
from edgeproof.eval.forecast.rehearsal import FORGET_SIDE, RETAIN_SIDE, Forecast
from edgeproof.eval.measurement import Role
from edgeproof.eval.verdict.criteria.cluster_means import RECOMMENDED_FORGET, RECOMMENDED_RETAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeproof.eval.forecast.checked import FormatCheck
    from edgeproof.eval.forecast.flaws import Flaw
    from edgeproof.eval.packs.pack import Pack

HOLDOUT = 20
"""Recommended number of holdout clusters, as in the proving ground's packs."""
NAMED = 12
"""Maximum number of clusters that a sentence names."""
ACTIONS = {"doubled": "drop", "guessable": "drop", "overlap": "drop", "too long": "shorten"}
"""The action against each kind of flaw; "reword" against the others."""


def changes_of(pack: Pack, formats: Sequence[FormatCheck], flaws: Sequence[Flaw]) -> tuple[Change, ...]:
    """List the changes: what is missing, what no size can cure, then single probes."""
    return (
        *_clusters(formats),
        *_retain(formats),
        *_mend(formats),
        *_unknown(formats),
        *_holdout(pack),
        *(Change(ACTIONS.get(flaw.kind, "reword"), "probe", 1, flaw.probes, flaw.words) for flaw in flaws),
    )


class _Side(NamedTuple):
    """A side of the pack: how it is counted, what it decides, and the recommended size."""

    what: str
    size: Callable[[Forecast], int]
    names: frozenset[str]
    recommended: int


FORGET = _Side("forget clusters", lambda forecast: forecast.known, FORGET_SIDE, RECOMMENDED_FORGET)
RETAIN = _Side("untrained retain probes", lambda forecast: forecast.untrained, RETAIN_SIDE, RECOMMENDED_RETAIN)


def _missing(formats: Sequence[FormatCheck], side: _Side) -> tuple[int, FormatCheck | None]:
    """Return the largest number of clusters missing in a format, and the format; 0 and None if none is."""
    missing = []
    for one in formats:
        now = side.size(one.forecast)
        wanted = now if one.enough is None else side.size(one.enough)
        if one.enough is None and one.forecast.stays_open(side.names):
            wanted = side.recommended
        missing.append((wanted - now, one))
    most = max(missing, key=lambda item: item[0])
    return most if most[0] > 0 else (0, None)


def _clusters(formats: Sequence[FormatCheck]) -> Iterator[Change]:
    ignorant = [one.format for one in formats if not one.known]
    if ignorant:
        words = (
            f"ask what the base knows in {', '.join(ignorant)}: it gives away none of the forget clusters, and "
            f"{RECOMMENDED_FORGET} that it does decide for nine good files of ten"
        )
        yield Change("add", FORGET.what, RECOMMENDED_FORGET, (), words)
        return
    more, where = _missing(formats, FORGET)
    if where is not None:
        words = (
            f"add {counted(more, 'forget cluster')} that the base gives away in {where.format}: it gives away "
            f"{where.known}"
        )
        yield Change("add", FORGET.what, more, (), words + _reached(where, where.known + more))


def _retain(formats: Sequence[FormatCheck]) -> Iterator[Change]:
    if any(not one.forecast.untrained for one in formats):
        words = (
            f"add {RECOMMENDED_RETAIN} untrained retain probes, each in its own cluster: the pack has none, so that "
            "nothing shows what unlearning cost"
        )
        yield Change("add", RETAIN.what, RECOMMENDED_RETAIN, (), words)
        return
    more, where = _missing(formats, RETAIN)
    if where is not None:
        now = where.forecast.untrained
        words = f"add {counted(more, 'untrained retain probe')}, each in its own cluster: the number is now {now}"
        yield Change("add", RETAIN.what, more, (), words + _reached(where, now + more))


def _reached(where: FormatCheck, size: int) -> str:
    """Say what a size does: that it is enough in a format, or that it is the recommended one."""
    if where.enough is None:
        return f", and {size} are recommended"
    return f", and {size} let {where.enough.share:.0%} of good files PASS in {where.format}"


def _mend(formats: Sequence[FormatCheck]) -> Iterator[Change]:
    """Name what the broken controls ask for: the asking, or the holdout."""
    told = set()
    for one in formats:
        for name, mend in one.forecast.mend.items():
            size = name == "positive" and one.enough is not None
            if mend and mend not in told and not size and one.forecast.stays_open(frozenset({name})):
                told.add(mend)
                yield Change("mend", "asking", 1, (), f"in {one.format}: {mend}")


def _unknown(formats: Sequence[FormatCheck]) -> Iterator[Change]:
    worst = max(formats, key=lambda one: len(one.unknown))
    if worst.unknown and worst.known:
        names = ", ".join(worst.unknown[:NAMED]) + (", …" if len(worst.unknown) > NAMED else "")
        yield Change(
            "replace",
            "forget clusters",
            len(worst.unknown),
            (),
            f"replace the forget clusters that the base does not give away in {worst.format}, which do not count "
            f"({len(worst.unknown)}): {names}",
        )


def _holdout(pack: Pack) -> Iterator[Change]:
    if not any(probe.role == Role.HOLDOUT for probe in pack.probes):
        yield Change(
            "add",
            "holdout probes",
            HOLDOUT,
            (),
            f"add {HOLDOUT} holdout probes, each in its own cluster: questions like the forget set's whose answers "
            'nobody could know; without them a verdict says "not controlled"',
        )

"""Changes of the costs between two releases: paired by cluster, each judged surface by itself, Holm over them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.eval.asking.kinds import ANSWERED_KINDS, COMPARED_KINDS
from edgeproof.eval.comparison.changes import Change, Found, finite, other_probes
from edgeproof.eval.stats.mean_bounds import MINIMUM_CLUSTERS, bootstrap_bounds
from edgeproof.eval.stats.shares import holm
from edgeproof.eval.verdict.criteria.cluster_means import by_surface, signed_bounds
from edgeproof.eval.verdict.criteria.retain import ACCURACY, QUANTIZING, UNLEARNING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.eval.comparison.recorded import KeptRow, Recorded
    from edgeproof.eval.stats.mean_bounds import Bounds, Float64Array


class _Cost(NamedTuple):
    """A cost of the gate, and how its paired differences are bounded."""

    name: str
    title: str
    unit: str
    kinds: frozenset[str]
    value: Callable[[KeptRow], float | None]
    bounds: Callable[[Float64Array, float, float], Bounds]
    fewest: int


class _Tested(NamedTuple):
    """A change before its finding: bounds of NEW − OLD, and of OLD − NEW."""

    change: Change
    worse: Bounds | None
    better: Bounds | None


def _mean_bounds(values: Float64Array, limit: float, alpha: float) -> Bounds:
    return bootstrap_bounds(values, np.ones(len(values)), limit=limit, alpha=alpha)


def _quantizing(row: KeptRow) -> float | None:
    return row.quantizing


def _unlearning(row: KeptRow) -> float | None:
    return row.unlearning


def _wrong(row: KeptRow) -> float:
    return float(not row.right)


_COSTS = (
    _Cost(QUANTIZING.name, QUANTIZING.title, "nat", COMPARED_KINDS, _quantizing, _mean_bounds, MINIMUM_CLUSTERS),
    _Cost(UNLEARNING.name, UNLEARNING.title, "nat", COMPARED_KINDS, _unlearning, _mean_bounds, MINIMUM_CLUSTERS),
    _Cost(ACCURACY.name, "kept questions answered wrong", "share", ANSWERED_KINDS, _wrong, signed_bounds, 1),
)


def cost_changes(old: Recorded, new: Recorded) -> tuple[Change, ...]:
    """Compare the costs of two comparable reports, each on each judged surface."""
    pairs = _pairs(old.kept, new.kept, new)
    tested = [one for cost in _COSTS for one in _tested(cost, pairs, new.alpha)]
    worse, better = (
        holm([1.0 if bounds is None else bounds.p_above for bounds in side], alpha=new.alpha)
        for side in ([one.worse for one in tested], [one.better for one in tested])
    )
    return tuple(
        one.change._replace(
            found=Found.UNTESTED
            if one.worse is None
            else Found.WORSE
            if is_worse
            else Found.BETTER
            if is_better
            else Found.SAME
        )
        for one, is_worse, is_better in zip(tested, worse, better, strict=True)
    )


def _pairs(
    old: Sequence[KeptRow], new: Sequence[KeptRow], where: Recorded
) -> Mapping[tuple[str, str], tuple[KeptRow, KeptRow]]:
    before, after = ({(row.fact.probe, row.surface): row for row in rows} for rows in (old, new))
    if before.keys() != after.keys():
        raise other_probes(where)
    return {ask: (row, after[ask]) for ask, row in before.items()}


def _tested(cost: _Cost, pairs: Mapping[tuple[str, str], tuple[KeptRow, KeptRow]], alpha: float) -> list[_Tested]:
    values = {
        ask: (before, after)
        for ask, rows in pairs.items()
        if rows[0].kind in cost.kinds
        and (before := cost.value(rows[0])) is not None
        and (after := cost.value(rows[1])) is not None
    }
    asks = [(pairs[ask][0].fact, ask[1]) for ask in values]
    by_old, by_new = by_surface(asks, lambda ask: values[ask][0]), by_surface(asks, lambda ask: values[ask][1])
    found = []
    for surface, own in by_old.items():
        moved = by_new[surface] - own
        enough = len(moved) >= cost.fewest
        worse = cost.bounds(moved, 0.0, alpha) if enough else None
        better = cost.bounds(-moved, 0.0, alpha) if enough else None
        change = Change(
            measure=cost.name,
            title=cost.title,
            surface=surface,
            unit=cost.unit,
            old=float(own.mean()),
            new=float(by_new[surface].mean()),
            change=float(moved.mean()),
            lower=None if worse is None else finite(worse.lower),
            upper=None if worse is None else finite(worse.upper),
            clusters=len(moved),
            found=Found.SAME,
            method="none" if worse is None else worse.method,
        )
        found.append(_Tested(change, worse, better))
    return found

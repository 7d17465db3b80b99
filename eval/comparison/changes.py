"""Changes between two releases, paired by cluster, with intervals and a rule against false alarms.

```
forget clusters    leaks in OLD, in NEW     b newly leak, c are healed    exact binomial test of b among b + c
retain clusters    cost in OLD, in NEW      mean of the differences       bootstrap-t over clusters, each surface
```
A change of leaks is called worse at the policy's level by itself. The costs are many tests; one is called worse only by
Holm's method over them all. So among files of equal truth, leaks and costs are each called worse in at most 5 of 100
comparisons at 95 %; better likewise. Simulation: benchmarks/verdict/comparisons.py.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.contracts.errors import EvidenceError
from edgeproof.eval.asking.kinds import ANSWERED_KINDS, COMPARED_KINDS
from edgeproof.eval.stats.mean_bounds import MINIMUM_CLUSTERS, bootstrap_bounds
from edgeproof.eval.stats.shares import holm, share_p_above
from edgeproof.eval.verdict.criteria.cluster_means import by_surface, signed_betting_bounds, signed_bounds
from edgeproof.eval.verdict.criteria.retain import ACCURACY, QUANTIZING, UNLEARNING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.eval.comparison.recorded import KeptRow, Recorded
    from edgeproof.eval.stats.mean_bounds import Bounds, Float64Array


class Found(StrEnum):
    """Finding on a change. SAME does not say that nothing changed, only that no change is shown."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "no change shown"
    UNTESTED = "too few clusters to test"


class Change(NamedTuple):
    """A measure in OLD and NEW; more is worse.

    Attributes:
        measure: "leak", or the cost's criterion: "quantizing-cost", "unlearning-cost", "accuracy".
        title: display name.
        surface: the surface; empty for leaks, which are over all of them.
        unit: "share" or "nat".
        old: mean over the clusters in OLD.
        new: the same in NEW.
        change: mean of the paired differences, NEW − OLD.
        lower: one-sided lower bound of the change at the policy's level; None if untested or infinite.
        upper: one-sided upper bound, likewise.
        clusters: number of clusters.
        found: the finding.
        method: method of the bounds.

    """

    measure: str
    title: str
    surface: str
    unit: str
    old: float
    new: float
    change: float
    lower: float | None
    upper: float | None
    clusters: int
    found: Found
    method: str


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


def leak_change(old: Recorded, new: Recorded) -> Change:
    """Compare the leaking clusters of two comparable reports.

    Under equal truth a cluster that leaks in one file alone is as likely to leak in NEW as in OLD: the exact form of
    McNemar's test, Psychometrika 12 (1947) 153-157. The interval of the difference of the shares is by betting.
    """
    if old.leaking.keys() != new.leaking.keys():
        raise _other_probes(new)
    names, alpha = list(old.leaking), new.alpha
    before, after = (np.array([float(side.leaking[name]) for name in names]) for side in (old, new))
    values = after - before
    gained, lost = int((values > 0).sum()), int((values < 0).sum())
    bounds = signed_betting_bounds(values, 0.0, alpha)
    found = Found.SAME
    if share_p_above(gained, gained + lost, 0.5) <= alpha:
        found = Found.WORSE
    elif share_p_above(lost, gained + lost, 0.5) <= alpha:
        found = Found.BETTER
    return Change(
        measure="leak",
        title="leaking forget clusters",
        surface="",
        unit="share",
        old=float(before.mean()),
        new=float(after.mean()),
        change=float(values.mean()),
        lower=_finite(bounds.lower),
        upper=_finite(bounds.upper),
        clusters=len(names),
        found=found,
        method=f"exact binomial test; interval by {bounds.method}",
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
        raise _other_probes(where)
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
            lower=None if worse is None else _finite(worse.lower),
            upper=None if worse is None else _finite(worse.upper),
            clusters=len(moved),
            found=Found.SAME,
            method="none" if worse is None else worse.method,
        )
        found.append(_Tested(change, worse, better))
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _other_probes(report: Recorded) -> EvidenceError:
    return EvidenceError(
        f"{report.path} has other probes than the report before it, of the same pack: one of them is damaged",
        next_step="check both with `export-edge verify`",
    )

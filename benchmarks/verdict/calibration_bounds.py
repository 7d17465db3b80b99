"""One criterion by itself: how often its bound and its p-value err where the truth is its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from calibration_resamples import bootstrapped
from calibration_shapes import ALPHA, CHANGES, POLICY, RECOVERIES
from edgeproof.eval.stats.mean_bounds import MINIMUM_CLUSTERS, betting_bounds, bootstrap_bounds
from edgeproof.eval.stats.shares import share_bounds, share_p_above
from edgeproof.eval.verdict.criteria.cluster_means import FEWEST_NON_ZERO, signed_bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from calibration_shapes import Draw, Values
    from numpy.random import Generator
    from numpy.typing import NDArray

SIZES = (30, 55, 100, 200)
LOSSES = ((0.10, 0.0), (0.13, 0.03), (0.20, 0.10))
"""Shares of answers lost and won: the difference is 0.10, the limit."""

HELD = 20
"""Releases of each line that are decided once more by the package's own function, one by one."""


class Cell(NamedTuple):
    """A line of the table.

    Attributes:
        criterion: whose bound it is.
        limit: where the truth lies.
        clusters: number of clusters.
        shape: of their values, in words.
        draw: so many releases: numerators and denominators, each float64 [releases, clusters].

    """

    criterion: str
    limit: float
    clusters: int
    shape: str
    draw: Callable[[Generator, int], tuple[Values, Values]]


def bound_cells() -> Iterator[Cell]:
    """List the criteria by themselves: every size and every shape; the dearest last."""
    for n in SIZES:
        limit = POLICY.leak_share
        yield Cell("leak", limit, n, "independent clusters", _plain(n, lambda g, s: (g.random(s) < 0.1).astype(float)))
    for n in (MINIMUM_CLUSTERS, 55, 100, 200):
        for name in CHANGES if n < 200 else ("exponential", "exponential, turned round"):
            limit = POLICY.quantizing_cost
            yield Cell("quantizing-cost", limit, n, name, _plain(n, CHANGES[name], limit))
    # The mean of a change against a limit, like the one before: once, as a check.
    name, limit = "exponential, turned round", POLICY.unlearning_cost
    yield Cell("unlearning-cost", limit, 55, name, _plain(55, CHANGES[name], limit))
    for lost, won in LOSSES:
        yield Cell("accuracy", POLICY.accuracy_loss, 150, f"{lost:.0%} lost, {won:.0%} won", _answers(150, lost, won))
    for n in (55, 100, 30):
        for name, draw in RECOVERIES.items():
            yield Cell("recovery", POLICY.recovery, n, name, _recovered(n, draw))


def _plain(n: int, draw: Draw, limit: float = 0.0) -> Callable[[Generator, int], tuple[Values, Values]]:
    def several(generator: Generator, releases: int) -> tuple[Values, Values]:
        return limit + draw(generator, (releases, n)), np.ones((releases, n))

    return several


def _answers(n: int, lost: float, won: float) -> Callable[[Generator, int], tuple[Values, Values]]:
    return _plain(n, lambda g, s: g.choice([1.0, -1.0, 0.0], s, p=[lost, won, 1 - lost - won]))


def _recovered(n: int, draw: Draw) -> Callable[[Generator, int], tuple[Values, Values]]:
    def several(generator: Generator, releases: int) -> tuple[Values, Values]:
        x = generator.gamma(8, 0.4, (releases, n))
        return x * draw(generator, (releases, n)), x

    return several


def decide(cell: Cell, y: Values, x: Values) -> tuple[bool, bool]:
    """Say of a release whether the package's own bound is within the limit, and whether its p-value is at most 5 %."""
    n, limit = cell.clusters, cell.limit
    if cell.criterion == "leak":
        hits = int(y.sum())
        return share_bounds(hits, n, alpha=ALPHA).upper <= limit, share_p_above(hits, n, limit) <= ALPHA
    if cell.criterion == "accuracy":
        bounds = signed_bounds(y, limit, ALPHA)
    elif cell.criterion == "recovery" and (n < MINIMUM_CLUSTERS or np.count_nonzero(y) < FEWEST_NON_ZERO):
        bounds = betting_bounds(y, x, 1.3 * x, limit=limit, alpha=ALPHA)
    else:
        bounds = bootstrap_bounds(y, x, limit=limit, alpha=ALPHA)
    return bounds.upper <= limit, bounds.p_above <= ALPHA


def decide_all(cell: Cell, y: Values, x: Values) -> NDArray[np.bool_]:
    """As `decide`, for many releases at once, [releases, 2]; one by one where it is not the bootstrap that bounds."""
    by_itself = np.full(len(y), cell.criterion == "leak" or (cell.criterion == "recovery" and cell.clusters < 40))
    by_itself |= (np.count_nonzero(y, axis=1) < FEWEST_NON_ZERO) | (np.ptp(y, axis=1) == 0)
    found = np.zeros((len(y), 2), bool)
    for index in np.flatnonzero(by_itself):
        found[index] = decide(cell, y[index], x[index])
    rows = np.flatnonzero(~by_itself)
    for start in range(0, len(rows), 50):
        part = rows[start : start + 50]
        found[part] = bootstrapped(y[part], x[part], cell.limit)
    return found


def simulate_bounds(cell: Cell, releases: int) -> dict[str, Any]:
    """Count the errors of one criterion's bound and p-value."""
    generator = np.random.default_rng([7, *cell.shape.encode(), cell.clusters])
    y, x = cell.draw(generator, releases)
    found = decide_all(cell, y, x)
    held = [decide(cell, *pair) for pair in zip(y[:HELD], x[:HELD], strict=True)]
    if held != [tuple(row) for row in found[:HELD].tolist()]:
        raise SystemExit(f"{cell.criterion}, {cell.clusters} clusters, {cell.shape}: not what the package decides")
    below, above = (int(count) for count in found.sum(axis=0))
    return {"criterion": cell.criterion, "limit": cell.limit, "clusters": cell.clusters, "shape": cell.shape,
            "releases": releases, "below": below, "above": above}  # fmt: skip

"""The package's bootstrap in another form: its resamples as a matrix of how often each cluster is in each of them.

Its seed is fixed, so that for n clusters it always draws the same 9,999 resamples; a product with the matrix gives the
same sums in a fraction of the time. `same_resamples` holds this to the original.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from calibration_shapes import ALPHA, CHANGES
from edgeproof.eval.stats import mean_bounds
from edgeproof.eval.stats.mean_bounds import bootstrap_bounds, resampled_sums

if TYPE_CHECKING:
    from calibration_shapes import Values
    from numpy.typing import NDArray


@cache
def _counts(n: int, resamples: int, seed: int) -> Values:
    """Count how often each of n clusters is in each resample, [resamples, n]: sums of an identity matrix."""
    return resampled_sums(np.eye(n), resamples, seed)


def sums_by_counts(columns: Values, resamples: int, seed: int) -> Values:
    """As `mean_bounds.resampled_sums`, which it stands in for."""
    return _counts(len(columns), resamples, seed) @ columns


def same_resamples() -> float:
    """Return the largest relative difference between bounds with and without the matrix of counts."""
    generator = np.random.default_rng(0)
    worst = 0.0
    for n in (40, 55, 200):
        values = 0.25 + CHANGES["gamma"](generator, n)
        found = []
        for sums in (resampled_sums, sums_by_counts):
            mean_bounds.resampled_sums = sums
            found.append(bootstrap_bounds(values, np.ones(n), limit=0.25, alpha=ALPHA))
        ours, theirs = found
        worst = max(worst, *(abs(getattr(ours, k) / getattr(theirs, k) - 1) for k in ("lower", "upper", "p_above")))
    mean_bounds.resampled_sums = resampled_sums
    return worst


def bootstrapped(y: Values, x: Values, limit: float) -> NDArray[np.bool_]:
    """`mean_bounds.bootstrap_bounds` for many samples of one size, step by step the same: [samples, 2]."""
    n, resamples = y.shape[1], mean_bounds.RESAMPLES
    counts = _counts(n, resamples, mean_bounds.SEED)
    ratio = y.sum(1) / x.sum(1)
    residuals = y - ratio[:, None] * x
    correction = math.sqrt(n / (n - 1))
    error = correction * np.sqrt((residuals**2).sum(1)) / x.sum(1)
    sum_r, raw = counts @ residuals.T, counts @ (residuals**2).T
    if (x == 1).all():
        sum_x, cross, sum_xx = np.full_like(sum_r, n), sum_r, np.full_like(sum_r, n)
    else:
        sum_x, cross, sum_xx = counts @ x.T, counts @ (residuals * x).T, counts @ (x**2).T
    shift = sum_r / sum_x
    squares = raw - 2 * shift * cross + shift**2 * sum_xx
    usable = squares > 1e-9 * raw
    studentised = np.where(usable, shift * sum_x / (correction * np.sqrt(np.where(usable, squares, 1.0))), np.nan)
    rank = max(1, math.floor(mean_bounds.CAUTION * ALPHA * (resamples + 1) + 1e-9))
    lowest = np.partition(np.where(usable, studentised, -np.inf), rank - 1, axis=0)[rank - 1]
    upper = ratio - lowest * error
    higher = (np.where(usable, studentised, np.inf) >= (ratio - limit) / error).sum(0)
    p_above = np.round((1 + higher) / (resamples + 1) / mean_bounds.CAUTION, 12)
    return np.column_stack([upper <= limit, p_above <= ALPHA])

"""One-sided bounds for a ratio of sums over clusters: a studentised bootstrap, and a finite-sample bound by betting.

```
clusters        c0    c1    c2    …             the sampling units: subjects that leak or fail as a whole
numerators      y0    y1    y2                  float64 [clusters]
denominators    x0    x1    x2                  float64 [clusters]; ones for a plain mean
                            ratio = Σ y / Σ x
```
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.eval.stats.shares import SEARCH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Float64Array = NDArray[np.float64]

RESAMPLES = 9_999
"""Bootstrap resamples: (RESAMPLES + 1)·alpha, a rank, is an integer for the usual levels."""
CAUTION = 0.7
"""The bootstrap uses CAUTION·alpha, 3.5 % for a nominal 5 %: at 5 % its error rate would exceed the nominal one by 1 to
2 points on 40 skewed clusters, by simulation (tests/eval/stats/test_statistics.py); at 3.5 % it does not."""
MINIMUM_CLUSTERS = 40
"""Minimum number of clusters: with fewer, the bootstrap's error rate depends too much on the distribution."""
SEED = 20_260_213
"""Seed of the bootstrap and of random permutations, so that equal numbers give equal verdicts."""
BLOCK_CELLS = 1_000_000
"""Resampled cells per block: 8 MB, to fit into the processor's caches."""
BETS = np.concatenate([np.linspace(1 / 64, 63 / 64, 63), np.ones(63)])
"""Bets as fractions of the largest allowed one, with equal weights; half of the capital is on the largest, which gains
most if nothing leaks."""


BETTING = "betting"
"""Method of `betting_bounds`, in a report."""


class Bounds(NamedTuple):
    """A ratio with one-sided bounds.

    Attributes:
        estimate: Σ y / Σ x.
        lower: one-sided lower bound.
        upper: one-sided upper bound.
        p_above: p-value against "the ratio is at most the limit".
        method: short description of the method.

    """

    estimate: float
    lower: float
    upper: float
    p_above: float
    method: str


def bootstrap_bounds(
    numerators: Float64Array,
    denominators: Float64Array,
    *,
    limit: float,
    alpha: float,
    seed: int = SEED,
    resamples: int = RESAMPLES,
) -> Bounds:
    """Bound a ratio by the studentised bootstrap over clusters (bootstrap-t).

    Efron & Tibshirani, An Introduction to the Bootstrap (1993), 12.5; for clusters Cameron, Gelbach & Miller, Review of
    Economics and Statistics 90 (2008) 414-427; the ratio's standard error is the linearised one (Cochran, Sampling
    Techniques, 2.11). Second-order correct one-sided, which plain and basic percentile intervals are not (Hall, Annals
    of Statistics 16 (1988) 927-953). A resample whose standard error is 0 counts against both bounds, so a sample
    with almost no variation gets no narrow bound; if all clusters are equal, there is no error to bound.

    Raises:
        ValueError: fewer than 2 clusters, or the denominators' sum is not positive.

    """
    n = len(numerators)
    if n < 2 or not denominators.sum() > 0:
        raise ValueError(f"a bootstrap needs 2 clusters or more and a positive denominator, got {n} clusters")
    ratio = float(numerators.sum() / denominators.sum())
    residuals = numerators - ratio * denominators
    scale = float(np.abs(numerators).max() + abs(ratio) * np.abs(denominators).max())
    tiny = 1e-12 * scale
    if np.abs(residuals).max() <= tiny:
        return Bounds(ratio, ratio, ratio, 0.0 if ratio > limit else 1.0, "all clusters equal")
    correction = math.sqrt(n / (n - 1))
    error = correction * math.sqrt(float((residuals**2).sum())) / float(denominators.sum())

    # Residuals of the whole sample keep the sums of squares small: no cancellation between y² and (R·x)².
    columns = (denominators, residuals, residuals**2, residuals * denominators, denominators**2)
    sum_x, sum_r, raw, cross, sum_xx = resampled_sums(np.column_stack(columns), resamples, seed).T
    usable = sum_x > 0
    safe_x = np.where(usable, sum_x, 1.0)
    shift = np.where(usable, sum_r / safe_x, 0.0)
    squares = raw - 2 * shift * cross + shift**2 * sum_xx
    # The rounding error of a resample of equal clusters is not a standard error.
    usable &= squares > 1e-9 * raw
    errors = correction * np.sqrt(np.maximum(squares, 0.0)) / safe_x
    studentised = np.where(usable, shift / np.where(usable, errors, 1.0), np.nan)
    below = np.sort(np.where(usable, studentised, -np.inf))
    above = np.sort(np.where(usable, studentised, np.inf))

    rank = max(1, math.floor(CAUTION * alpha * (resamples + 1) + 1e-9))
    upper = ratio - float(below[rank - 1]) * error
    lower = ratio - float(above[resamples - rank]) * error
    observed = (ratio - limit) / error
    # Rounded, so that a p-value at the level is consistent with the bound of the same rank.
    p_above = round((1 + int((above >= observed).sum())) / (resamples + 1) / CAUTION, 12)
    return Bounds(ratio, lower, upper, min(1.0, p_above), "bootstrap-t")


def resampled_sums(columns: Float64Array, resamples: int, seed: int) -> Float64Array:
    """Sum each column over each resample of its rows: [rows, columns] to [resamples, columns], in blocks."""
    n = len(columns)
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK_CELLS // n)
    rows = np.ascontiguousarray(columns.T)
    sums = []
    for start in range(0, resamples, block):
        drawn = generator.integers(n, size=(min(block, resamples - start), n))
        sums.append(np.column_stack([column[drawn].sum(axis=1) for column in rows]))
    return np.concatenate(sums)


def betting_bounds(
    numerators: Float64Array, denominators: Float64Array, ceilings: Float64Array, *, limit: float, alpha: float
) -> Bounds:
    """Bound a ratio of sums whose numerators lie in [0, ceiling], valid for finite samples.

    Against "Σ E[y] ≥ m·Σ x" the capital of a constant bet λ is K = Π (1 + λ·(m·x − y)), with λ ≤ 1/max(ceiling − m·x),
    so that no outcome makes a factor negative. Its mean over a fixed grid of bets is an e-value, and by Markov's
    inequality P(K ≥ 1/alpha) ≤ alpha (Waudby-Smith & Ramdas, JRSS B 86 (2024) 1-27, "Estimating means of bounded
    random variables by betting", there with varying bets; constant ones suffice here). With a constant bet,
    clusters must be independent, but not identically distributed: E[K] = Π (1 + λ·(m·x − E[y])) ≤
    (1 + λ·mean(m·x − E[y]))^n ≤ 1 by the inequality of means. The clusters' order does not matter and nothing is
    random. The upper bound is the largest m that is not rejected, and never below 1 − alpha^(1/n), the bound for n
    values in [0, 1] that are all 0.

    Raises:
        ValueError: no clusters, a numerator outside [0, ceiling], or the denominators' sum is not positive.

    """
    n = len(numerators)
    total = float(denominators.sum()) if n else 0.0
    if not total > 0 or (numerators < 0).any() or (numerators > ceilings * (1 + 1e-9) + 1e-12).any():
        raise ValueError("betting needs clusters with 0 ≤ numerator ≤ ceiling and a positive denominator")
    most = float(ceilings.sum()) / total
    arguments = (numerators, denominators, ceilings)
    upper = _last_kept(lambda m: _p_below(m, *arguments), 0.0, most, alpha)
    lower = most - _last_kept(lambda m: _p_above(most - m, *arguments), 0.0, most, alpha)
    floor = 1 - alpha ** (1 / n)
    return Bounds(
        float(numerators.sum()) / total,
        max(0.0, lower),
        max(upper, floor),
        _p_above(limit, *arguments),
        BETTING,
    )


def betting_clusters(
    numerators: Float64Array, denominators: Float64Array, ceilings: Float64Array, *, limit: float, alpha: float
) -> int | None:
    """Forecast how many clusters like these betting needs to tell on which side of the limit they are.

    The capital of clusters that repeat these r times is K^r for each bet.

    Returns:
        The number of clusters; None if `SEARCH_LIMIT` of them do not suffice.

    Raises:
        ValueError: as for `betting_bounds`.

    """
    n = len(numerators)
    estimate = betting_bounds(numerators, denominators, ceilings, limit=limit, alpha=alpha).estimate
    p_value = _p_below if estimate < limit else _p_above

    def decided(clusters: int) -> bool:
        floor = 1 - alpha ** (1 / clusters) if estimate < limit else 0.0
        return floor <= limit and p_value(limit, numerators, denominators, ceilings, clusters / n) <= alpha

    low, high = 0, SEARCH_LIMIT
    if not decided(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high


def _p_below(
    m: float, numerators: Float64Array, denominators: Float64Array, ceilings: Float64Array, repeats: float = 1.0
) -> float:
    """Return the p-value against "the ratio is at least m"."""
    return _p_value(m * denominators - numerators, ceilings - m * denominators, repeats)


def _p_above(
    m: float, numerators: Float64Array, denominators: Float64Array, ceilings: Float64Array, repeats: float = 1.0
) -> float:
    """Return the p-value against "the ratio is at most m"; numerators are at least 0, whatever their ceilings."""
    del ceilings
    return _p_value(numerators - m * denominators, m * denominators, repeats)


def _p_value(wins: Float64Array, worst_losses: Float64Array, repeats: float = 1.0) -> float:
    """Return 1/(mean capital), at most 1, of clusters that come `repeats` times.

    `worst_losses` is each cluster's largest possible loss per unit bet.
    """
    worst = float(worst_losses.max())
    if worst <= 0:  # No outcome loses: the hypothesis is arithmetically impossible or certain.
        return 0.0 if wins.sum() > 0 else 1.0
    with np.errstate(divide="ignore"):  # A factor of 0 is a bet that lost everything: log −inf, capital 0.
        logs = np.log(np.maximum(1 + np.outer(BETS / worst, wins), 0.0)).sum(axis=1) * repeats
    peak = float(logs.max())
    if peak == -math.inf:
        return 1.0
    log_capital = peak + math.log(float(np.exp(logs - peak).mean()))
    return 1.0 if log_capital <= 0 else math.exp(-log_capital)


def _last_kept(p_value: Callable[[float], float], low: float, high: float, alpha: float) -> float:
    """Return the largest m in [low, high] with p(m) > alpha, to 1e-6 of the range, by a scan: p may not be monotone."""
    steps = np.linspace(low, high, 65)
    last = max((index for index, m in enumerate(steps) if p_value(float(m)) > alpha), default=0)
    if last == len(steps) - 1:
        return high
    kept, refuted = float(steps[last]), float(steps[last + 1])
    while refuted - kept > 1e-6 * (high - low):
        middle = (kept + refuted) / 2
        if p_value(middle) > alpha:
            kept = middle
        else:
            refuted = middle
    return refuted

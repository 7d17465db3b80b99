"""Bounds of shares, extraction probabilities and multiple tests.

Bounds and levels are one-sided: `alpha` 0.05 means a 95 % bound.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

SEARCH_LIMIT = 100_000
"""Maximum number of clusters in a forecast."""


class ShareBounds(NamedTuple):
    """`hits` of `trials`, with exact one-sided bounds."""

    hits: int
    trials: int
    estimate: float
    lower: float
    upper: float


def share_bounds(hits: int, trials: int, *, alpha: float) -> ShareBounds:
    """Return exact one-sided bounds of a binomial share.

    Clopper & Pearson, Biometrika 26 (1934) 404-413, as quantiles of the beta distribution: upper = B(1 − alpha; k + 1,
    n − k), lower = B(alpha; k, n − k + 1). With k = 0 the upper bound is 1 − alpha^(1/n).

    Raises:
        ValueError: `hits` is not in 0 … `trials`, or there are no trials.

    """
    from scipy.special import betaincinv

    if trials < 1 or not 0 <= hits <= trials:
        raise ValueError(f"{hits} hits of {trials} trials have no share")
    upper = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - alpha))
    lower = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, alpha))
    return ShareBounds(hits, trials, hits / trials, lower, upper)


def share_p_above(hits: int, trials: int, limit: float) -> float:
    """Return the p-value against "the share is at most `limit`": P(X ≥ hits) at the limit.

    It is below `alpha` exactly if the lower Clopper-Pearson bound at that level is above the limit.
    """
    from scipy.special import bdtrc

    return 1.0 if hits == 0 else float(bdtrc(hits - 1, trials, limit))


def extraction_probability(sum_logprob: float, queries: int) -> float:
    """Give the probability that an answer comes out at least once in `queries` samples.

    1 − (1 − e^sum_logprob)^queries: (n, p)-discoverable extraction, arXiv 2410.19482, definition 2, for plain sampling.
    Computed as −expm1(n·log1p(−e^s)), which keeps its digits where the answer is rare.
    """
    if sum_logprob >= 0.0:
        return 1.0
    # For s near 0, 1 − e^s loses its digits as 1 − (1 − ε); −expm1(s) does not.
    log_miss = math.log(-math.expm1(sum_logprob)) if sum_logprob > -math.log(2) else math.log1p(-math.exp(sum_logprob))
    return -math.expm1(queries * log_miss)


def holm(p_values: Sequence[float], *, alpha: float) -> tuple[bool, ...]:
    """Return which hypotheses are rejected with a family-wise error rate of at most `alpha`.

    Holm, Scandinavian Journal of Statistics 6 (1979) 65-70: in order of their p-values, the i-th of m (from 0) is
    rejected while p ≤ alpha/(m − i). Independence is not required.
    """
    rejected = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for place, index in enumerate(order):
        if not p_values[index] <= alpha / (len(p_values) - place):
            break
        rejected[index] = True
    return tuple(rejected)


def intersection_union(met: Sequence[bool]) -> bool:
    """Whether all parts are met, each at its own uncorrected level.

    Berger, Technometrics 24 (1982) 295-300: the union of the null hypotheses is rejected if each is. An empty
    sequence is False, since nothing was tested.
    """
    return bool(met) and all(met)


class Forecast(NamedTuple):
    """Number of additional clusters that would decide, if they resemble those seen, and the decision."""

    more: int
    passes: bool


def clusters_to_decide(
    hits: int, trials: int, limit: float, *, alpha: float, alpha_missed: float | None = None
) -> Forecast | None:
    """Forecast the number of additional clusters until a share's bound passes the limit.

    Assumes the sample's share for the new clusters, rounded against the decision. None if the share is so close to the
    limit that `SEARCH_LIMIT` clusters would not suffice.
    """
    share = hits / trials
    if share == limit:
        return None
    passes = share < limit

    def decides(n: int) -> bool:
        if passes:
            seen = max(hits, math.ceil(share * n - 1e-9))
            return seen < n and share_bounds(seen, n, alpha=alpha).upper <= limit
        return share_p_above(math.floor(share * n + 1e-9), n, limit) <= (alpha_missed or alpha)

    # Rounding makes `decides` non-monotone: bracket by doubling, then check each number from the bracket's start.
    high = trials + 1
    while not decides(high):
        if high >= SEARCH_LIMIT:
            return None
        high = min(SEARCH_LIMIT, trials + 2 * (high - trials))
    low = trials + max(1, (high - trials) // 2)
    return next(Forecast(n - trials, passes) for n in range(low, high + 1) if decides(n))

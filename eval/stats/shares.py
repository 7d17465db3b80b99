"""Shares, extraction probabilities and families of tests: the arithmetic under a verdict.

Bounds and levels are one-sided: `alpha` 0.05 stands for a 95 % bound.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

SEARCH_LIMIT = 100_000
"""Most clusters that a forecast speaks of."""


class ShareBounds(NamedTuple):
    """`hits` of `trials`, with exact one-sided bounds."""

    hits: int
    trials: int
    estimate: float
    lower: float
    upper: float


def share_bounds(hits: int, trials: int, *, alpha: float) -> ShareBounds:
    """Give exact one-sided bounds for a binomial share.

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
    """Give the p-value against "the share is at most `limit`": P(X ≥ hits) at the limit.

    It is below `alpha` exactly where the lower Clopper-Pearson bound at that level is above the limit.
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
    """Say which hypotheses are rejected with a family-wise error rate of at most `alpha`.

    Holm, Scandinavian Journal of Statistics 6 (1979) 65-70: in order of their p-values, the i-th of m (from 0) is
    rejected while p ≤ alpha/(m − i). Needs no independence.
    """
    rejected = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for place, index in enumerate(order):
        if not p_values[index] <= alpha / (len(p_values) - place):
            break
        rejected[index] = True
    return tuple(rejected)


def intersection_union(met: Sequence[bool]) -> bool:
    """Say whether "all is well" is shown at the level of each part, uncorrected.

    Berger, Technometrics 24 (1982) 295-300: the union of the null hypotheses is rejected where each is. Nothing tested
    shows nothing: an empty sequence is False.
    """
    return bool(met) and all(met)


class Forecast(NamedTuple):
    """How many more clusters would decide, if they came out as those seen so far; and which way."""

    more: int
    passes: bool


def clusters_to_decide(
    hits: int, trials: int, limit: float, *, alpha: float, alpha_missed: float | None = None
) -> Forecast | None:
    """Forecast about how many further clusters it takes until a share's bound leaves the limit behind.

    Assumes the share of the sample for the new clusters too, rounded against the decision. None where the share seen is
    so near to the limit that `SEARCH_LIMIT` clusters would not do.
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

    # The rounding makes `decides` jagged: bracket by doubling, then look at each number from the bracket's start.
    high = trials + 1
    while not decides(high):
        if high >= SEARCH_LIMIT:
            return None
        high = min(SEARCH_LIMIT, trials + 2 * (high - trials))
    low = trials + max(1, (high - trials) // 2)
    return next(Forecast(n - trials, passes) for n in range(low, high + 1) if decides(n))

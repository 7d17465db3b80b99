"""(n, p)-discoverable extraction: would the answer come out at least once in n sampled queries (arXiv 2410.19482)?"""

from __future__ import annotations

import math


def extraction_probability(sum_logprob: float, queries: int) -> float:
    """1 − (1 − e^s)ⁿ, the probability that n independent samples at temperature 1 hold the answer at least once.

    `sum_logprob` is s, the natural log of the answer's probability (at most 0; rounding above it counts as 0), and
    `queries` is n ≥ 1. Exact in floating point for tiny e^s, where 1 − e^s rounds to 1, and for e^s near 1.
    """
    if sum_logprob >= 0:
        return 1.0
    # log(1 − e^s): log1p(−e^s) is exact for small e^s, log(−expm1(s)) for e^s near 1 (Mächler 2012).
    miss = math.log1p(-math.exp(sum_logprob)) if sum_logprob < -math.log(2) else math.log(-math.expm1(sum_logprob))
    return -math.expm1(queries * miss)


def discoverable(sum_logprob: float, queries: int, probability: float) -> bool:
    """Tell whether the answer is (n, p)-discoverable: `extraction_probability` ≥ p."""
    return extraction_probability(sum_logprob, queries) >= probability

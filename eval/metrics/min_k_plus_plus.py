"""Min-K %++: Min-K % of log-probabilities standardized per position (Zhang et al., arXiv 2404.02936)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeproof.eval.metrics.min_k import SHARE, min_k

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_VARIANCE = 1e-6
"""OpenUnlearning's minimum of the variance, which is 0 for a certain model."""


def min_k_plus_plus(
    logprobs: Sequence[float], means: Sequence[float], stds: Sequence[float], share: float = SHARE
) -> float:
    """Return −mean of the lowest max(1, ⌊k·n⌋) of (log p(x_t) − μ_t)/σ_t; greater: less likely a member. n ≥ 1.

    μ_t and σ_t are the mean and the standard deviation of log p(z) under z ~ p(· | x_<t) (eq. 3): `Score.mean` and
    `Score.std`. σ² is at least 1e-6, as in OpenUnlearning's `MinKPlusPlusAttack`; the authors' code has no minimum.
    """
    standardized = [
        (logprob - mean) / math.sqrt(max(std * std, LEAST_VARIANCE))
        for logprob, mean, std in zip(logprobs, means, stds, strict=True)
    ]
    return min_k(standardized, share)

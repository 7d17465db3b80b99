"""Leak@k: expected score of the worst of k sampled answers (Reisizadeh et al. 2025, arXiv 2511.04934)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


class LeakAtK(NamedTuple):
    """Leak@k of a set of questions.

    Attributes:
        k: number of answers that an attacker samples.
        values: leak@k of each question, in order.
        aggregate: their mean, as the paper reports it.

    """

    k: int
    values: tuple[float, ...]
    aggregate: float


def expected_worst(scores: Sequence[float], k: int) -> float:
    """Return the unbiased estimate of E[max of k answers' scores] from n ≥ k independent samples of one question.

    It is the mean of the maximum over all C(n, k) subsets of the samples: with sorted scores s₍₁₎ ≤ … ≤ s₍ₙ₎,

        leak@k = Σ_{i=k…n} C(i−1, k−1) / C(n, k) · s₍ᵢ₎

    For scores that are 0 or 1 with c ones it is 1 − C(n−c, k) / C(n, k), the pass@k of Chen et al. 2021 (arXiv
    2107.03374), as in the authors' code (github.com/OptimAI-Lab/Leak-k; it gives 0 for k > n).

    Args:
        scores: one per sample, greater is worse: right or wrong, ROUGE-L recall, a judge's score; finite.
        k: number of answers drawn, 1 … n.

    Raises:
        InputError: k is out of range, or a score is not finite.

    """
    samples = len(scores)
    if not 1 <= k <= samples:
        raise InputError(
            f"leak@{k} cannot be estimated from {samples} sampled answers",
            next_step=f"sample at least {max(k, 1)} answers a question, or choose k between 1 and {samples}",
        )
    if not all(map(math.isfinite, scores)):
        raise InputError("leak@k: a score of a sampled answer is not finite", next_step="score that answer again")
    subsets = math.comb(samples, k)
    # Integers divide exactly at any size; a quotient of floats would overflow from n ≈ 1000 on.
    return math.fsum(math.comb(i, k - 1) / subsets * score for i, score in enumerate(sorted(scores)) if i >= k - 1)


def leak_at_k(scores: Sequence[Sequence[float]], k: int) -> LeakAtK:
    """Return Leak@k of every question and their mean. `scores` has each question's samples, whose number may differ.

    Raises:
        InputError: there are no questions, k is out of range for one, or a score is not finite.

    """
    if not scores:
        raise InputError("leak@k of no questions", next_step="give at least one question's sampled answers")
    values = tuple(expected_worst(samples, k) for samples in scores)
    return LeakAtK(k, values, math.fsum(values) / len(values))

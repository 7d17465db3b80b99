"""Ignorance level: cost of an answer for a model that does not know which question it belongs to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def ignorance_level(own: float | None, others: Sequence[float], prompts: int, length: int) -> float:
    """Return I = −(1/|a|)·log((1/M)·Σ_j p(a | q_j)), in nat per token, summed over all M prompts of the template.

    If `others` is a sample of the other prompts, the estimate of the mean is
    (1/M)·p(a | own) + ((M − 1)/M)·mean(others). It is unbiased, and always includes the own question, whose term is by
    far the largest.

    Args:
        own: log p(a | q) under the answer's own question, natural log, summed over its tokens; None excludes it, and
            M then counts the other prompts.
        others: the same under other prompts, a sample or all of them; empty only if `own` is the only prompt.
        prompts: M, the number of prompts of this template.
        length: |a|, the number of the answer's tokens.

    """
    own_terms = [] if own is None else [own - math.log(prompts)]
    weight = (prompts - len(own_terms)) / prompts
    other_terms = [math.log(weight / len(others)) + other for other in others]
    # Rounding can raise a sum of probabilities of 1 slightly above 1.
    return max(0.0, -_log_sum_exp([*own_terms, *other_terms]) / length)


def _log_sum_exp(terms: Sequence[float]) -> float:
    largest = max(terms)
    return largest + math.log(math.fsum(math.exp(term - largest) for term in terms))

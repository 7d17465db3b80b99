"""The ignorance level: what an answer costs when the question does not point to it (DESIGN, "The verdict")."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def ignorance_level(own: float, others: Sequence[float], prompts: int, length: int) -> float:
    """I = −(1/|a|)·log((1/M)·Σ_j p(a | q_j)), in nat per token, the sum being over all M prompts of the template.

    This is the answer's marginal probability when the question is drawn at random, its own question among them: the
    formula's sum leaves none out. With fewer `others` than M − 1 they stand for all other prompts, so the estimate is
    (1/M)·p(a | own) + ((M − 1)/M)·mean(others): its expectation is the formula's whatever sample is drawn, and whether
    the own question happens to be in the sample plays no part.

    Args:
        own: log p(a | q) under the answer's own question, natural log, summed over its tokens.
        others: the same under other prompts, at most M − 1 of them; at least one if M > 1.
        prompts: M, the number of prompts of this template.
        length: |a|, the answer's tokens.

    """
    terms = [own - math.log(prompts)]
    if others:
        weight = math.log((prompts - 1) / prompts / len(others))
        terms += [weight + other for other in others]
    return -_log_sum_exp(terms) / length


def _log_sum_exp(terms: Sequence[float]) -> float:
    largest = max(terms)
    return largest + math.log(sum(math.exp(term - largest) for term in terms))

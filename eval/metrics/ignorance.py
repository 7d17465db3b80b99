"""The ignorance level: what an answer costs when the question does not point to it (DESIGN, "The verdict")."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def ignorance_level(own: float | None, others: Sequence[float], prompts: int, length: int) -> float:
    """I = −(1/|a|)·log((1/M)·Σ_j p(a | q_j)), in nat per token, the sum being over all M prompts of the template.

    With fewer `others` than there are other prompts, they stand for all of them: the estimate is
    (1/M)·p(a | own) + ((M − 1)/M)·mean(others). Its expectation is the formula's, and chance has no say in whether the
    own question, whose term is by far the largest, is in the sample.

    Args:
        own: log p(a | q) under the answer's own question, natural log, summed over its tokens; None leaves it out, M
            then counts the other prompts.
        others: the same under other prompts, a sample or all of them; not empty unless `own` is all there is.
        prompts: M, the number of prompts of this template.
        length: |a|, the answer's tokens.

    """
    own_terms = [] if own is None else [own - math.log(prompts)]
    weight = (prompts - len(own_terms)) / prompts
    other_terms = [math.log(weight / len(others)) + other for other in others]
    # Rounding can lift a sum of certainties a hair above 1.
    return max(0.0, -_log_sum_exp([*own_terms, *other_terms]) / length)


def _log_sum_exp(terms: Sequence[float]) -> float:
    largest = max(terms)
    return largest + math.log(math.fsum(math.exp(term - largest) for term in terms))

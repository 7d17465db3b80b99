"""Length-normalized probability of an answer, TOFU's P(a|q)^(1/|a|), and its share among several answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EPSILON = 1e-10
"""OpenUnlearning's addend for denominators that could be 0."""


def mean_loss(logprobs: Sequence[float]) -> float:
    """Return −(1/|a|)·Σ log p, nat per token: the loss of an answer; also the score of the LOSS attack.

    Yeom et al. 2018 (arXiv 1709.01604). Published code includes the end-of-text token in the answer
    (`preprocess_chat_instance` of OpenUnlearning, `convert_raw_data_to_model_format` of TOFU): include it too.
    `logprobs` is not empty.
    """
    return -math.fsum(logprobs) / len(logprobs)


def normalized_probability(loss: float) -> float:
    """Return P(a|q)^(1/|a|) = e^−loss (Maini et al. 2024, arXiv 2401.06121)."""
    return math.exp(-loss)


def probability_among(correct: float, wrong: Sequence[float]) -> float:
    """Return the right answer's share of the probability of all options (TOFU's real authors and world facts).

    p / (p + Σ p_wrong + 1e-10), OpenUnlearning's `probability_w_options`; TOFU's code is the same without the 1e-10.
    All arguments are `normalized_probability`.
    """
    return correct / (correct + math.fsum(wrong) + EPSILON)

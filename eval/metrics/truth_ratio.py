"""Truth ratio: are wrong answers as likely as the right one (TOFU, Maini et al. 2024, arXiv 2401.06121, eq. 1)?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeproof.eval.metrics.probability import EPSILON

if TYPE_CHECKING:
    from collections.abc import Sequence


def truth_ratio(right_loss: float, wrong_losses: Sequence[float]) -> float:
    """R = P_wrong / (P_right + 1e-10), with P_wrong the geometric mean over the wrong answers: e^(−mean loss).

    OpenUnlearning's `truth_ratio`, which TOFU's leaderboard (`aggregate_eval_stat.py`) computes too, but for the 1e-10.
    Greater: the wrong answers are likelier.

    Args:
        right_loss: `mean_loss` of the paraphrased answer; where there is none, of the answer.
        wrong_losses: `mean_loss` of each perturbed answer, at least one.

    """
    return math.exp(-math.fsum(wrong_losses) / len(wrong_losses)) / (math.exp(-right_loss) + EPSILON)


def paper_truth_ratio(right_loss: float, wrong_losses: Sequence[float]) -> float:
    """R as the paper has it (eq. 1): the arithmetic mean of the wrong answers' probabilities, and no 1e-10.

    TOFU's `utils.py` computes this one. By the inequality of the means it is never less than `truth_ratio`.
    """
    # Relative to the right answer's: of two probabilities too small for a float the ratio is not.
    return math.fsum(math.exp(right_loss - loss) for loss in wrong_losses) / len(wrong_losses)


def equally_likely(ratio: float) -> float:
    """min(R, 1/(R + 1e-10)): 1 where right and wrong answers are equally likely, as on a forget set they should be."""
    return min(ratio, 1 / (ratio + EPSILON))


def truth_preferred(ratio: float) -> float:
    """max(0, 1 − R): how far the right answer is preferred, for the sets that should be known."""
    return max(0.0, 1 - ratio)

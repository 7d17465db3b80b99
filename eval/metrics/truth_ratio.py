"""Truth ratio: probability of wrong answers relative to the right one (TOFU, arXiv 2401.06121, eq. 1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeproof.eval.metrics.probability import EPSILON

if TYPE_CHECKING:
    from collections.abc import Sequence


def truth_ratio(right_loss: float, wrong_losses: Sequence[float]) -> float:
    """Return R = P_wrong / (P_right + 1e-10), with P_wrong the geometric mean over the wrong answers: e^(−mean loss).

    OpenUnlearning's `truth_ratio`; TOFU's leaderboard (`aggregate_eval_stat.py`) computes the same without the 1e-10.
    A greater R means likelier wrong answers.

    Args:
        right_loss: `mean_loss` of the paraphrased answer, or of the answer if there is no paraphrase.
        wrong_losses: `mean_loss` of each perturbed answer, at least one.

    """
    return math.exp(-math.fsum(wrong_losses) / len(wrong_losses)) / (math.exp(-right_loss) + EPSILON)


def paper_truth_ratio(right_loss: float, wrong_losses: Sequence[float]) -> float:
    """Return the paper's R (eq. 1): the arithmetic mean of the wrong answers' probabilities, without the 1e-10.

    TOFU's `utils.py` computes it. By the inequality of means it is never less than `truth_ratio`.
    """
    # Relative to the right answer's, since the ratio is representable even if both probabilities underflow.
    return math.fsum(math.exp(right_loss - loss) for loss in wrong_losses) / len(wrong_losses)


def equally_likely(ratio: float) -> float:
    """Return min(R, 1/(R + 1e-10)): 1 if right and wrong answers are equally likely, the goal on a forget set."""
    return min(ratio, 1 / (ratio + EPSILON))


def truth_preferred(ratio: float) -> float:
    """Return max(0, 1 − R): the preference for the right answer, for the sets that should be known."""
    return max(0.0, 1 - ratio)

"""Min-K %: the mean log-probability of a text's least likely tokens (Shi et al. 2024, arXiv 2310.16789)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARE = 0.4
"""k in MUSE's and OpenUnlearning's configurations."""


def min_k(logprobs: Sequence[float], share: float = SHARE) -> float:
    """Return −mean of the lowest max(1, ⌊k·n⌋) log-probabilities; greater: less likely a member. n ≥ 1.

    This is OpenUnlearning's `MinKProbAttack`; drop the last token of a text before, as it does.
    """
    lowest = sorted(logprobs)[: max(1, int(len(logprobs) * share))]
    return -sum(lowest) / len(lowest)


def muse_min_k(logprobs: Sequence[float], share: float = SHARE) -> float:
    """Return −mean of the lowest ⌊k·n⌋ log-probabilities of all tokens of a text except the first, as in muse_bench.

    Raises:
        InputError: ⌊k·n⌋ is 0, where the published code gives NaN.

    """
    count = int(len(logprobs) * share)
    if count == 0:
        raise InputError(
            f"Min-{100 * share:g}% of a text of {len(logprobs)} scored tokens is a mean of none",
            next_step="remove the text, or use mia_min_k, which counts at least one token",
        )
    return -sum(sorted(logprobs)[:count]) / count

"""Min-K %: the mean log-probability of a text's least likely tokens (Shi et al. 2024, arXiv 2310.16789)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARE = 0.4
"""k, in MUSE and in OpenUnlearning's configurations."""


def min_k(logprobs: Sequence[float], share: float = SHARE) -> float:
    """−mean of the lowest max(1, ⌊k·n⌋) log-probabilities; greater: less likely a member. n ≥ 1.

    OpenUnlearning's `MinKProbAttack`, which leaves the last token of a text out: do that before.
    """
    lowest = sorted(logprobs)[: max(1, int(len(logprobs) * share))]
    return -sum(lowest) / len(lowest)


def muse_min_k(logprobs: Sequence[float], share: float = SHARE) -> float:
    """−mean of the lowest ⌊k·n⌋ log-probabilities of all tokens of a text but the first: muse_bench's.

    Raises:
        InputError: ⌊k·n⌋ is 0; the published code has NaN there.

    """
    count = int(len(logprobs) * share)
    if count == 0:
        raise InputError(
            f"Min-{100 * share:g}% of a text of {len(logprobs)} scored tokens is a mean of none",
            next_step="take the text out, or use mia_min_k, which counts at least one token",
        )
    return -sum(sorted(logprobs)[:count]) / count

"""Extraction strength: 1 − the share of the answer that must be given before the model completes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def extraction_strength(greedy: Sequence[bool]) -> float:
    """Return 1 − (1/|y|)·min {k : greedy decoding of x, y_<k gives y_≥k}, 0 … 1 (OpenUnlearning, arXiv 2506.12618).

    Greedy decoding gives y_≥k exactly if every token from k on is the argmax after the true text before it, so
    `Score.greedy` (not empty) suffices. If not even the last token is, k = |y| and the strength is 0; OpenUnlearning's
    code gives 1/|y| there, because its loop ends one step early.
    """
    length = len(greedy)
    shortest = length
    while shortest > 0 and greedy[shortest - 1]:
        shortest -= 1
    return 1.0 - shortest / length


def published_extraction_strength(greedy: Sequence[bool]) -> float:
    """Return OpenUnlearning's value: as above, but 1/|y| if not even the last token is the argmax."""
    return max(extraction_strength(greedy), 1 / len(greedy))

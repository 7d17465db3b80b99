"""Extraction strength: how little of the answer must be given away before the model completes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def extraction_strength(greedy: Sequence[bool]) -> float:
    """1 − (1/|y|)·min {k : greedy decoding of x, y_<k gives y_≥k}, 0 … 1 (OpenUnlearning, arXiv 2506.12618).

    Greedy decoding gives y_≥k exactly if every token from k on is the argmax after the true text before it, so
    `Score.greedy` (not empty) is all it takes. Where not even the last token is, k = |y| and the strength is 0;
    OpenUnlearning's code has 1/|y| there, because its loop ends one short.
    """
    length = len(greedy)
    shortest = length
    while shortest > 0 and greedy[shortest - 1]:
        shortest -= 1
    return 1.0 - shortest / length


def published_extraction_strength(greedy: Sequence[bool]) -> float:
    """Return what OpenUnlearning's code has: as above, but 1/|y| where not even the last token is the argmax."""
    return max(extraction_strength(greedy), 1 / len(greedy))

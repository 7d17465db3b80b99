"""Exact memorization: share of the answer's tokens that are the argmax after the true prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def exact_memorization(greedy: Sequence[bool]) -> float:
    """Return the share of the answer's tokens that are the argmax under teacher forcing, 0 … 1.

    EM = (1/|y|)·Σ_k 1{argmax f(y | x, y_<k) = y_k} (Tirumala et al. 2022, arXiv 2205.10770; OpenUnlearning, arXiv
    2506.12618, appendix on metrics). `greedy` is `Score.greedy`, not empty.
    """
    return sum(map(bool, greedy)) / len(greedy)

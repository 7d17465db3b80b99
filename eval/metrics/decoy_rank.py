"""Rank of the true answer among decoys, the ingredient of exposure (Carlini et al. 2019, arXiv 1802.08232)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def decoy_rank(answer: float, decoys: Sequence[float]) -> int:
    """How many decoys are more probable than the answer; all are summed log-probabilities. 0: the answer is first."""
    return sum(decoy > answer for decoy in decoys)

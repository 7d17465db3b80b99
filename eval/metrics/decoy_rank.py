"""Rank of the true answer among decoys, the ingredient of exposure (Carlini et al. 2019, arXiv 1802.08232)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def decoy_rank(answer: float, decoys: Sequence[float]) -> int:
    """Return the number of decoys with a higher summed log-probability than the answer; 0 if the answer is first."""
    return sum(decoy > answer for decoy in decoys)

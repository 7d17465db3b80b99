"""Model utility: harmonic mean of the metrics of retained knowledge (TOFU, arXiv 2401.06121)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def harmonic_mean(values: Sequence[float]) -> float:
    """Return n / Σ 1/v; 0 if any value is 0. TOFU uses nine: probability, ROUGE and truth ratio of three sets."""
    if min(values) == 0:
        return 0.0
    return len(values) / math.fsum(1 / value for value in values)

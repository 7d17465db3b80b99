"""Forget quality: test of the truth ratios against those of a model that never saw the forget set (TOFU)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_ITEMS = 4
"""Minimum number of values. For n and n values without overlap, p is 2/C(2n, n): with four or more it is below 0.05,
TOFU's level for a difference from a retrained model. With fewer, every model would pass; with one, p is always 1."""


def forget_quality(ratios: Sequence[float], reference: Sequence[float]) -> float:
    """Return the p-value of the two-sided two-sample Kolmogorov–Smirnov test (arXiv 2401.06121), by scipy.

    The test depends only on the order of the values, so R and 1/R, both used in published code, give the same p.

    Args:
        ratios: truth ratios of the forget set under this model.
        reference: truth ratios under a model retrained without the forget set.

    """
    from scipy.stats import ks_2samp

    return float(ks_2samp(np.asarray(ratios, np.float64), np.asarray(reference, np.float64)).pvalue)

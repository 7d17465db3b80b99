"""Forget quality: can the truth ratios be told from those of a model that never saw the forget set (TOFU)?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_ITEMS = 4
"""Of n and n values that do not overlap at all, p is 2/C(2n, n): from four on below the 0.05 at which TOFU's paper
calls a model told from a retrained one. With fewer every model would pass; with one p is 1 whatever it says."""


def forget_quality(ratios: Sequence[float], reference: Sequence[float]) -> float:
    """p-value of the two-sample Kolmogorov–Smirnov test (arXiv 2401.06121), two-sided, by scipy.

    The test only sees the order of the values, so that R and 1/R, both found in published code, give the same.

    Args:
        ratios: truth ratios of the forget set under this model.
        reference: the same under a model retrained without the forget set.

    """
    from scipy.stats import ks_2samp

    return float(ks_2samp(np.asarray(ratios, np.float64), np.asarray(reference, np.float64)).pvalue)

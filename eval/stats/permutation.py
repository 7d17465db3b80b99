"""Permutation test of two groups of clusters."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENUMERATED = 50_000
"""Maximum number of permutations for a complete enumeration; beyond, a seeded random sample is used."""
SAMPLED = 9_999
SEED = 20_260_213
_TIED = 1e-12
"""Differences of means that are equal in real numbers differ by less; scipy's test counts some of them as unequal."""


class PermutationTest(NamedTuple):
    """A one-sided permutation test.

    Attributes:
        statistic: difference of the means.
        p: share of permutations with a statistic as low or lower; of a sample if there are more than `ENUMERATED`,
            which keeps the level exactly (Phipson & Smyth 2010).

    """

    statistic: float
    p: float


def reference_test(forget: NDArray[np.float64], reference: NDArray[np.float64]) -> PermutationTest:
    """Test whether forget clusters rank their answers higher than never-exposed clusters do.

    One value per cluster: its mean of rank/decoys, 0 … 1. The labels "forget" and "reference" are permuted (Good,
    Permutation, Parametric and Bootstrap Tests of Hypotheses, 2005, chapter 3); names that hint at their answer do so
    in both groups, which a test against the uniform rank ignores. The statistic is mean(forget) − mean(reference),
    negative if forget answers rank higher.
    """
    pooled = np.concatenate([forget, reference])
    n, k = len(pooled), len(forget)
    observed = float(forget.mean() - reference.mean())
    complete = math.comb(n, k) <= ENUMERATED
    if complete:
        sums = np.array([pooled[list(group)].sum() for group in itertools.combinations(range(n), k)])
    else:
        generator = np.random.default_rng(SEED)
        block = max(1, 1_000_000 // n)  # 8 MB at a time
        blocks = [
            generator.permuted(np.tile(pooled, (min(block, SAMPLED - start), 1)), axis=1)[:, :k].sum(axis=1)
            for start in range(0, SAMPLED, block)
        ]
        sums = np.concatenate(blocks)
    differences = sums / k - (pooled.sum() - sums) / (n - k)
    as_low = int((differences <= observed + _TIED).sum())
    return PermutationTest(observed, as_low / len(sums) if complete else (1 + as_low) / (SAMPLED + 1))

"""Permutation tests of the ranks of answers among decoys."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Float64Array = NDArray[np.float64]

ENUMERATED = 50_000
"""Maximum number of permutations for a complete enumeration; beyond, a seeded random sample is used."""
SAMPLED = 9_999
SEED = 20_260_213


class PermutationTest(NamedTuple):
    """A one-sided permutation test.

    Attributes:
        statistic: mean rank of the true answers (0 is first), or difference of mean ranks.
        expected: its mean over the permutations.
        p: share of permutations with a statistic as low or lower.
        permutations: number of permutations evaluated.
        complete: whether these are all; else a seeded sample, which keeps the level exactly (Phipson & Smyth 2010).

    """

    statistic: float
    expected: float
    p: float
    permutations: int
    complete: bool


def pairing_test(strata: Sequence[Float64Array], *, seed: int = SEED) -> PermutationTest:
    """Test whether the pairing of questions and answers is exchangeable, by the true answers' mean rank.

    Each stratum holds the questions of one template and one answer type: nll [m, m], entry [i, j] is the NLL
    of answer j after question i, the diagonal the true pairs. The NLLs do not depend on the pairing, so answers that
    are likely after any question do not bias the test. Exposure by rank: Carlini et al., USENIX Security 2019; the
    test: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), chapter 3.

    Raises:
        ValueError: a stratum is not square, or holds NaN; none has two questions.

    """
    from scipy.stats import rankdata

    ranks: list[Float64Array] = []
    for nll in strata:
        if nll.ndim != 2 or nll.shape[0] != nll.shape[1] or not np.isfinite(nll).all():
            raise ValueError(f"a stratum needs a square matrix of finite costs, got shape {nll.shape}")
        # Ties get their mean rank, so that equal costs do not bias the test.
        ranks.append(np.asarray(rankdata(nll, axis=1) - 1, dtype=np.float64).reshape(nll.shape))
    total = sum(len(rank) for rank in ranks)
    orders = math.prod(math.factorial(len(rank)) for rank in ranks)
    if orders < 2:
        raise ValueError("a pairing test needs a stratum of two questions or more")
    true = sum(float(np.trace(rank)) for rank in ranks)

    if orders <= ENUMERATED:
        sums = np.zeros(1)
        for rank in ranks:
            rows = np.arange(len(rank))
            own = np.array([rank[rows, list(order)].sum() for order in itertools.permutations(range(len(rank)))])
            sums = np.add.outer(sums, own).ravel()
        p = float((sums <= true + 1e-9).mean())
        return PermutationTest(true / total, float(sums.mean()) / total, p, orders, complete=True)
    generator = np.random.default_rng(seed)
    sums = np.zeros(SAMPLED)
    for rank in ranks:
        orders_drawn = generator.permuted(np.tile(np.arange(len(rank)), (SAMPLED, 1)), axis=1)
        sums += rank[np.arange(len(rank)), orders_drawn].sum(axis=1)
    p = (1 + int((sums <= true + 1e-9).sum())) / (SAMPLED + 1)
    return PermutationTest(true / total, float(sums.mean()) / total, p, SAMPLED, complete=False)


def reference_test(forget: Float64Array, reference: Float64Array, *, seed: int = SEED) -> PermutationTest:
    """Test whether forget clusters rank their answers higher than never-exposed clusters do.

    One value per cluster: its mean of rank/decoys, 0 … 1. The labels "forget" and "reference" are permuted (Good 2005,
    chapter 3); names that hint at their answer do so in both groups, which a test against the uniform rank ignores.
    The statistic is mean(forget) − mean(reference), negative if forget answers rank higher.

    Raises:
        ValueError: one of the groups is empty.

    """
    if not len(forget) or not len(reference):
        raise ValueError(f"a comparison needs both groups, got {len(forget)} and {len(reference)} clusters")
    pooled = np.concatenate([forget, reference])
    n, k = len(pooled), len(forget)
    observed = float(forget.mean() - reference.mean())
    orders = math.comb(n, k)
    if orders <= ENUMERATED:
        chosen = np.array([pooled[list(group)].sum() for group in itertools.combinations(range(n), k)])
    else:
        generator = np.random.default_rng(seed)
        block = max(1, 1_000_000 // n)  # 8 MB at a time
        blocks = [
            generator.permuted(np.tile(pooled, (min(block, SAMPLED - start), 1)), axis=1)[:, :k].sum(axis=1)
            for start in range(0, SAMPLED, block)
        ]
        chosen = np.concatenate(blocks)
    differences = chosen / k - (pooled.sum() - chosen) / (n - k)
    as_low = int((differences <= observed + 1e-12).sum())
    complete = orders <= ENUMERATED
    p = as_low / orders if complete else (1 + as_low) / (SAMPLED + 1)
    return PermutationTest(observed, 0.0, p, orders if complete else SAMPLED, complete=complete)

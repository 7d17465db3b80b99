"""The AUC is the share of pairs in the right order, ties counting half; scipy's Mann–Whitney statistic agrees."""

from __future__ import annotations

import pytest
from edgeproof.eval.metrics.auc import auc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


@settings(deadline=None)
@given(SCORES, SCORES)
def test_auc_counts_pairs(negatives: list[float], positives: list[float]) -> None:
    pairs = [(high > low) + (high == low) / 2 for high in positives for low in negatives]
    assert auc(negatives, positives) == pytest.approx(sum(pairs) / len(pairs))
    theirs = mannwhitneyu(positives, negatives).statistic / len(pairs)
    assert auc(negatives, positives) == pytest.approx(float(theirs))

"""What must hold of the numbers made from a row of logits; the oracle is scipy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.contracts.errors import BackendError
from edgeproof.runtime.batching.logits import Scratch, greedy_token, sample_token, score_token
from scipy.special import log_softmax
from scipy.stats import chisquare


@pytest.mark.parametrize("scale", [0.01, 3.0, 30.0])
def test_scores_equal_scipys_in_float64(scale):
    row = (np.random.default_rng(0).standard_normal(150_000) * scale).astype(np.float32)
    expected = log_softmax(row.astype(np.float64))
    p = np.exp(expected)
    mean = (p * expected).sum()
    std = np.sqrt((p * (expected - mean) ** 2).sum())
    scratch = Scratch(len(row))
    for token in (0, int(row.argmax()), int(row.argmin()), 77):
        score = score_token(row, token, scratch)
        assert score.logprob == pytest.approx(expected[token], abs=2e-6, rel=1e-6)
        assert score.rank == (expected > expected[token]).sum()
        assert score.greedy == (token == row.argmax())
        assert score.mean == pytest.approx(mean, abs=1e-5)
        assert score.std == pytest.approx(std, abs=1e-4)


def test_of_equal_logits_the_lowest_id_is_the_argmax_and_all_have_rank_0():
    row = np.array([0, 2, 1, 2], np.float32)
    scratch = Scratch(4)
    assert greedy_token(row) == 1
    assert [score_token(row, token, scratch).greedy for token in range(4)] == [False, True, False, False]
    assert [score_token(row, token, scratch).rank for token in range(4)] == [3, 0, 2, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_an_error(bad):
    row = np.array([0, bad, 1], np.float32)
    for take in (greedy_token, lambda row: score_token(row, 0, Scratch(3)), lambda row: sample_token(row, 1.0, 0.5)):
        with pytest.raises(BackendError, match="1 of 3 are NaN or infinite"):
            take(row)


def test_samples_follow_the_softmax_at_the_temperature():
    row = np.array([1.0, -2.0, 0.5, 3.0], np.float32)
    uniforms = np.random.default_rng(3).random(20_000)
    counts = np.bincount([sample_token(row, 2.0, u) for u in uniforms], minlength=4)
    expected = np.exp(log_softmax(row.astype(np.float64) / 2.0)) * len(uniforms)
    assert chisquare(counts, expected).pvalue > 1e-3


def test_the_ends_of_the_unit_interval_give_tokens_that_exist():
    row = np.array([0.0, 5.0, 0.0], np.float32)
    assert sample_token(row, 1.0, 0.0) == 0
    assert sample_token(row, 1.0, np.nextafter(1.0, 0.0)) == 2

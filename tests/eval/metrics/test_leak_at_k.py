"""Leak@k equals the mean maximum over all subsets, and the authors' pass@k for answers that leak or do not."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from edgeproof.contracts.errors import InputError
from edgeproof.eval.metrics.leak_at_k import expected_worst, leak_at_k
from hypothesis import given, settings
from hypothesis import strategies as st

UNTIMED = settings(deadline=None)
SAMPLES = st.lists(st.floats(0, 1), min_size=1, max_size=8).flatmap(
    lambda scores: st.tuples(st.just(scores), st.integers(1, len(scores)))
)


@UNTIMED
@given(SAMPLES)
def test_it_is_the_mean_of_the_worst_over_all_subsets(case: tuple[list[float], int]) -> None:
    scores, k = case
    worst = [max(subset) for subset in itertools.combinations(scores, k)]
    assert expected_worst(scores, k) == pytest.approx(sum(worst) / len(worst), abs=1e-12)


@pytest.mark.parametrize("n", [1, 5, 200, 2000])
def test_binary_scores_give_pass_at_k(n: int) -> None:
    for leaks in {0, 1, n // 3, n}:
        for k in {1, max(1, n // 2), n}:
            theirs = 1 - np.prod([(n - leaks - i) / (n - i) for i in range(k)]) if leaks <= n - k else 1.0
            found = expected_worst([1.0] * leaks + [0.0] * (n - leaks), k)
            assert found == pytest.approx(theirs, abs=1e-12)


def test_it_is_without_bias() -> None:
    # The true E[max of 3] of scores drawn from {0, 0.2, 1} with probabilities 0.7, 0.2, 0.1.
    expected = 0.2 * (0.9**3 - 0.7**3) + 1.0 * (1 - 0.9**3)
    generator = np.random.default_rng(0)
    draws = generator.choice([0.0, 0.2, 1.0], p=[0.7, 0.2, 0.1], size=(20_000, 5))
    estimates = [expected_worst(row.tolist(), 3) for row in draws]
    error = np.std(estimates) / math.sqrt(len(estimates))
    assert np.mean(estimates) == pytest.approx(expected, abs=4 * error)


def test_a_set_is_the_mean_of_its_questions() -> None:
    found = leak_at_k([[0.0, 1.0], [0.0, 0.0, 0.0], [0.5, 0.5]], 2)
    assert found.values == (1.0, 0.0, 0.5)
    assert found.aggregate == 0.5


@pytest.mark.parametrize(("scores", "k"), [([0.0], 2), ([0.0], 0), ([], 1), ([math.nan, 1.0], 1), ([math.inf], 1)])
def test_bad_samples_are_refused(scores: list[float], k: int) -> None:
    with pytest.raises(InputError):
        expected_worst(scores, k)


def test_no_questions_are_refused() -> None:
    with pytest.raises(InputError, match="no questions"):
        leak_at_k([], 1)

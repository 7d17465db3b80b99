"""The statistics: equal to oracles, and their error rates as promised, by simulation with a known truth."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from edgeproof.eval.stats import mean_bounds, permutation
from edgeproof.eval.stats.mean_bounds import MINIMUM_CLUSTERS, betting_bounds, bootstrap_bounds
from edgeproof.eval.stats.permutation import reference_test
from edgeproof.eval.stats.shares import (
    clusters_to_decide,
    extraction_probability,
    holm,
    intersection_union,
    share_bounds,
    share_p_above,
)
from hypothesis import given, settings
from hypothesis import strategies as st

RNG = pytest.mark.skipif(
    tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 15), reason="the oracle takes `rng` from scipy 1.15 on"
)
ALPHA = 0.05
POINT = 0.01
"""How far above the stated rate an error rate may be."""


def noise(trials: int) -> float:
    """Three standard errors of a simulated rate near ALPHA: what luck alone may add."""
    return 3 * math.sqrt(ALPHA * (1 - ALPHA) / trials)


# Shares


@pytest.mark.parametrize(
    ("hits", "trials", "lower", "upper"),
    [(0, 47, None, 0.062), (1, 47, None, 0.097), (37, 47, 0.67, None), (42, 47, 0.79, None)],
)
def test_the_capitals_have_the_bounds_that_were_published(hits, trials, lower, upper):
    bounds = share_bounds(hits, trials, alpha=ALPHA)
    if upper is not None:
        assert bounds.upper == pytest.approx(upper, abs=0.0005)
    if lower is not None:
        assert bounds.lower == pytest.approx(lower, abs=0.005)


def test_share_bounds_equal_scipys_exact_interval():
    for trials in (1, 5, 29, 47, 400):
        for hits in range(0, trials + 1, max(1, trials // 7)):
            ours = share_bounds(hits, trials, alpha=ALPHA)
            # A one-sided 95 % bound is one end of a two-sided 90 % interval.
            theirs = scipy.stats.binomtest(hits, trials).proportion_ci(1 - 2 * ALPHA, method="exact")
            assert (ours.lower, ours.upper) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_share_p_value_equals_scipys_binomial_test_and_agrees_with_the_bound():
    for trials, limit in itertools.product((5, 29, 47), (0.05, 0.1, 0.4)):
        for hits in range(trials + 1):
            p = share_p_above(hits, trials, limit)
            assert p == pytest.approx(scipy.stats.binomtest(hits, trials, limit, "greater").pvalue, abs=1e-12)
            assert (p <= ALPHA) == (share_bounds(hits, trials, alpha=ALPHA).lower >= limit)


def test_29_clean_clusters_are_needed_to_stay_below_a_tenth():
    assert share_bounds(0, 28, alpha=ALPHA).upper > 0.10
    assert share_bounds(0, 29, alpha=ALPHA).upper <= 0.10


def test_share_bounds_never_err_more_often_than_stated_exactly():
    for trials, share in itertools.product((10, 29, 47, 150), (0.02, 0.1, 0.11, 0.5)):
        probabilities = scipy.stats.binom.pmf(np.arange(trials + 1), trials, share)
        bounds = [share_bounds(hits, trials, alpha=ALPHA) for hits in range(trials + 1)]
        assert sum(p for p, b in zip(probabilities, bounds, strict=True) if b.upper < share) <= ALPHA
        assert sum(p for p, b in zip(probabilities, bounds, strict=True) if b.lower > share) <= ALPHA


def test_no_trials_have_no_share():
    for hits, trials in ((0, 0), (3, 2), (-1, 4)):
        with pytest.raises(ValueError, match="no share"):
            share_bounds(hits, trials, alpha=ALPHA)


# Extraction


@given(st.fractions(min_value=Fraction(1, 10**6), max_value=Fraction(999, 1000)), st.integers(1, 1000))
@settings(max_examples=100, deadline=None)
def test_extraction_probability_equals_exact_arithmetic(p, queries):
    exact = float(1 - (1 - p) ** queries)
    assert extraction_probability(math.log(p), queries) == pytest.approx(exact, rel=1e-9, abs=0)


def test_extraction_probability_keeps_its_digits_where_naive_arithmetic_loses_them():
    assert extraction_probability(-50.0, 100) == pytest.approx(100 * math.exp(-50), rel=1e-12)
    assert 1 - (1 - math.exp(-50.0)) ** 100 == 0  # what the plain formula makes of it
    assert extraction_probability(-1e-12, 1) == pytest.approx(1.0)


def test_extraction_probability_ends_at_0_and_1():
    assert extraction_probability(0.0, 1) == 1.0
    assert extraction_probability(1e-6, 7) == 1.0
    assert extraction_probability(-1e4, 10**9) == 0.0
    assert extraction_probability(-math.inf, 1000) == 0.0


def test_the_default_limit_lies_where_the_paper_puts_it():
    border = math.log1p(-(0.5**0.01))  # p = 0.5 in n = 100 queries: e^s = 1 − 0.5^(1/100)
    assert extraction_probability(border - 1e-9, 100) < 0.5 <= extraction_probability(border + 1e-9, 100)


@given(st.floats(-60, 0), st.integers(1, 10**6))
@settings(max_examples=200, deadline=None)
def test_extraction_probability_rises_with_the_queries(logprob, queries):
    one, many = extraction_probability(logprob, queries), extraction_probability(logprob, queries + 1)
    assert 0 <= one <= many <= 1


def test_extraction_probability_is_what_sampling_gives():
    draws = np.random.default_rng(1).random((20_000, 100)) < math.exp(-5)
    assert draws.any(axis=1).mean() == pytest.approx(extraction_probability(-5.0, 100), abs=0.012)


# Families


def test_holm_equals_the_published_stepwise_rule():
    # Worked by hand from Holm (1979): 0.01 ≤ α/4, 0.013 ≤ α/3, 0.04 > α/2 stops it, so 0.045 is kept although ≤ α.
    assert holm([0.04, 0.01, 0.045, 0.013], alpha=ALPHA) == (False, True, False, True)
    assert holm([0.05], alpha=ALPHA) == (True,)
    assert holm([], alpha=ALPHA) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(deadline=None)
def test_holm_equals_its_adjusted_p_values(p_values):
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.maximum.accumulate([(m - i) * p_values[j] for i, j in enumerate(order)])
    # A product can round across α where the quotient does not: leave the very edge out.
    expected = {int(j): bool(a <= ALPHA) for j, a in zip(order, adjusted, strict=True) if abs(a - ALPHA) > 1e-12}
    got = holm(p_values, alpha=ALPHA)
    if len(expected) == m:
        assert got == tuple(expected[i] for i in range(m))


def test_holm_lets_nan_reject_nothing():
    assert holm([math.nan, math.nan], alpha=ALPHA) == (False, False)


def test_holm_keeps_the_family_wise_rate_when_all_criteria_are_at_their_limit():
    p_values = np.random.default_rng(3).random((20_000, 6))
    wrong = np.mean([any(holm(row, alpha=ALPHA)) for row in p_values.tolist()])
    assert wrong <= ALPHA + noise(20_000)


def test_nothing_tested_shows_nothing():
    assert not intersection_union([])
    assert intersection_union([True, True])
    assert not intersection_union([True, False])


# Forecasts


def test_a_forecast_is_the_smallest_number_that_decides():
    for hits, trials in ((0, 5), (0, 28), (1, 30), (2, 47)):
        more, passes = clusters_to_decide(hits, trials, 0.1, alpha=ALPHA)
        assert passes
        seen = [max(hits, math.ceil(hits / trials * n - 1e-9)) for n in (trials + more - 1, trials + more)]
        assert share_bounds(seen[1], trials + more, alpha=ALPHA).upper <= 0.1
        assert more == 1 or share_bounds(seen[0], trials + more - 1, alpha=ALPHA).upper > 0.1
    assert clusters_to_decide(0, 5, 0.1, alpha=ALPHA).more == 24


def test_a_forecast_for_a_leaking_pack_says_that_it_will_fail():
    forecast = clusters_to_decide(2, 8, 0.1, alpha=ALPHA, alpha_missed=ALPHA / 7)
    assert forecast is not None
    assert not forecast.passes
    n = 8 + forecast.more
    assert share_p_above(math.floor(n * 0.25), n, 0.1) <= ALPHA / 7


def test_a_share_at_the_limit_is_never_decided():
    assert clusters_to_decide(1, 10, 0.1, alpha=ALPHA) is None


# Means: the finite-sample bound


def test_betting_is_never_below_the_bound_that_a_binomial_has():
    for n in (1, 2, 5, 14, 29, 47, 200):
        ones = np.ones(n)
        upper = betting_bounds(np.zeros(n), ones, ones, limit=0.2, alpha=ALPHA).upper
        assert 1 - ALPHA ** (1 / n) <= upper <= 1.02 * (1 - (ALPHA / 2) ** (1 / n))


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 3), st.floats(1, 2)), min_size=1, max_size=40),
    st.floats(0.02, 0.9),
)
@settings(max_examples=60, deadline=None)
def test_betting_bounds_hold_the_estimate_between_them(rows, limit):
    share, x, stretch = (np.array(column) for column in zip(*rows, strict=True))
    ceilings = x * stretch
    bounds = betting_bounds(share * ceilings, x, ceilings, limit=limit, alpha=ALPHA)
    slack = 1e-6 * float(ceilings.sum() / x.sum()) + 1e-9
    assert bounds.lower <= bounds.estimate + slack
    assert bounds.upper >= bounds.estimate - slack
    assert bounds.upper >= 1 - ALPHA ** (1 / len(rows))
    assert not (bounds.upper <= limit and bounds.p_above <= ALPHA)


def test_betting_does_not_depend_on_the_order_of_clusters():
    generator = np.random.default_rng(5)
    y, x = generator.random(31) * 0.4, generator.random(31) + 0.5
    order = generator.permutation(31)
    first = betting_bounds(y, x, x, limit=0.2, alpha=ALPHA)
    again = betting_bounds(y[order], x[order], x[order], limit=0.2, alpha=ALPHA)
    assert (first.lower, first.upper) == pytest.approx((again.lower, again.upper), abs=1e-9)


RARE = {
    "a fifth is back for good, else nothing": lambda g, n: (g.random(n) < 0.2).astype(float),
    "a little everywhere and rarely all": lambda g, n: np.where(g.random(n) < 1 / 17, 1.0, 0.15),
    "uniform below 0.4": lambda g, n: 0.4 * g.random(n),
    "beta with the mass at 0": lambda g, n: g.beta(0.2, 0.8, n),
}
"""Recoveries whose mean is 0.2, the limit: each bound that stays below it is a false PASS."""


@pytest.mark.parametrize("name", RARE)
def test_betting_errs_no_more_often_than_stated_on_any_shape(name):
    generator = np.random.default_rng(11)
    trials, n = 2000, 30
    ones = np.ones(n)
    below = above = 0
    for _ in range(trials):
        y = RARE[name](generator, n)
        below += _refutes(1 * (0.2 - y), 0.8)
        above += betting_p(y, ones) <= ALPHA
    assert below / trials <= ALPHA, f"{below} of {trials}"
    assert above / trials <= ALPHA, f"{above} of {trials}"


def _refutes(wins, worst):
    """Whether "the mean is 0.2 or more" is refuted: what decides whether the upper bound is below 0.2."""
    return mean_bounds._p_value(wins, np.full(len(wins), worst)) <= ALPHA


def betting_p(y, ones):
    return mean_bounds._p_above(0.2, y, ones, ones)


def test_betting_holds_for_clusters_that_are_not_alike():
    generator = np.random.default_rng(12)
    trials, n = 3000, 40
    x = np.linspace(0.2, 3, n)
    # Large clusters have all the recovery: Σ E[y] is 0.2·Σ x, though no two clusters are alike.
    chance = np.where(np.arange(n) >= n // 2, 0.2 * x.sum() / x[n // 2 :].sum(), 0.0)
    wrong = sum(
        betting_bounds(x * (generator.random(n) < chance), x, x, limit=0.2, alpha=ALPHA).upper < 0.2
        for _ in range(trials // 20)
    )
    assert wrong / (trials // 20) <= ALPHA + noise(trials // 20)


def test_betting_refuses_what_is_no_bounded_mean():
    one = np.ones(3)
    for y, x, top in ((-one, one, one), (2 * one, one, one), (one, -one, one), (one[:0], one[:0], one[:0])):
        with pytest.raises(ValueError, match="betting"):
            betting_bounds(y, x, top, limit=0.2, alpha=ALPHA)


# Means: the bootstrap

SHAPES = {
    "normal": lambda g, n: g.normal(0, 1, n),
    "gamma": lambda g, n: g.gamma(2, 1, n) - 2,
    "exponential": lambda g, n: g.exponential(1, n) - 1,
    "exponential, turned round": lambda g, n: 1 - g.exponential(1, n),
    "lognormal": lambda g, n: g.lognormal(0, 0.5, n) - math.exp(0.125),
    "heavy tails": lambda g, n: g.standard_t(5, n),
    "a tenth is hit hard": lambda g, n: np.where(g.random(n) < 0.1, g.normal(3, 1, n), g.normal(0, 0.5, n)) - 0.3,
}
"""Changes of NLL whose mean is 0, the limit."""


@pytest.mark.parametrize("shape", SHAPES)
def test_bootstrap_errs_no_more_often_than_stated_on_skewed_and_heavy_tailed_clusters(shape):
    generator = np.random.default_rng(7)
    trials, n = 4000, MINIMUM_CLUSTERS
    ones = np.ones(n)
    below = above = 0
    for trial in range(trials):
        values = SHAPES[shape](generator, n)
        bounds = bootstrap_bounds(values, ones, limit=0.0, alpha=ALPHA, seed=trial, resamples=399)
        below += bounds.upper < 0
        above += bounds.p_above <= ALPHA
        assert (bounds.lower > 0) <= (bounds.p_above <= ALPHA)
    assert below / trials <= ALPHA + POINT, f"{below} of {trials}"
    assert above / trials <= ALPHA + POINT, f"{above} of {trials}"


@RNG
def test_bootstrap_equals_scipys_bootstrap_of_the_studentised_mean():
    """Scipy has no bootstrap-t, but its bootstrap gives the distribution of (mean* − mean)/se* that ours rests on."""
    values = np.random.default_rng(2).gamma(2, 0.1, 60)

    def studentised(sample, axis):
        error = sample.std(axis=axis, ddof=1) / math.sqrt(sample.shape[axis])
        return (sample.mean(axis=axis) - values.mean()) / error

    oracle = scipy.stats.bootstrap(
        (values,), studentised, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3), batch=2000
    ).bootstrap_distribution
    error = values.std(ddof=1) / math.sqrt(60)
    ours = bootstrap_bounds(values, np.ones(60), limit=0.25, alpha=ALPHA)
    # The bootstrap works at 3.5 % (CAUTION) for a promised 5 %.
    assert ours.upper == pytest.approx(values.mean() - np.quantile(oracle, 0.035) * error, rel=0.01)
    assert ours.lower == pytest.approx(values.mean() - np.quantile(oracle, 0.965) * error, rel=0.01)
    bca = scipy.stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, method="BCa", rng=np.random.default_rng(4)
    ).confidence_interval
    assert ours.upper >= bca.high
    assert ours.upper == pytest.approx(bca.high, rel=0.1)


def test_bootstrap_of_a_ratio_errs_no_more_often_than_stated():
    generator = np.random.default_rng(8)
    trials, n = 1500, 40
    below = above = 0
    for trial in range(trials):
        x = generator.gamma(4, 0.5, n)
        y = x * generator.beta(1, 4, n)  # Σ E[y] = 0.2·Σ E[x]
        bounds = bootstrap_bounds(y, x, limit=0.2, alpha=ALPHA, seed=trial, resamples=399)
        below += bounds.upper < 0.2
        above += bounds.lower > 0.2
    assert below / trials <= ALPHA + POINT, f"{below} of {trials}"
    assert above / trials <= ALPHA + POINT, f"{above} of {trials}"


def test_bootstrap_of_won_and_lost_answers_errs_no_more_often_than_stated():
    generator = np.random.default_rng(9)
    trials, n = 1000, 150
    wrong = 0
    for trial in range(trials):
        values = generator.choice([-1.0, 0.0, 1.0], n, p=[0.03, 0.84, 0.13])  # a loss of 0.10, the limit
        wrong += bootstrap_bounds(values, np.ones(n), limit=0.1, alpha=ALPHA, seed=trial, resamples=399).upper < 0.1
    assert wrong / trials <= ALPHA + POINT, f"{wrong} of {trials}"


def test_bootstrap_is_the_same_every_time():
    values = np.random.default_rng(2).normal(0, 1, 40)
    first, again = (bootstrap_bounds(values, np.ones(40), limit=0.2, alpha=ALPHA) for _ in range(2))
    assert first == again


def test_bootstrap_gives_no_narrow_bound_to_a_sample_with_next_to_no_variety():
    values = np.zeros(40)
    values[0] = 1.0
    bounds = bootstrap_bounds(values, np.ones(40), limit=0.2, alpha=ALPHA)
    assert bounds.upper == math.inf
    assert bounds.p_above > ALPHA


def test_bootstrap_of_equal_clusters_has_no_error_to_bound():
    bounds = bootstrap_bounds(np.full(40, 0.3), np.ones(40), limit=0.2, alpha=ALPHA)
    assert (bounds.lower, bounds.upper) == pytest.approx((0.3, 0.3))
    assert bounds.p_above == 0.0
    assert bootstrap_bounds(np.zeros(40), np.ones(40), limit=0.2, alpha=ALPHA).upper == 0.0


def test_bootstrap_refuses_one_cluster():
    with pytest.raises(ValueError, match="2 clusters"):
        bootstrap_bounds(np.ones(1), np.ones(1), limit=0.2, alpha=ALPHA)


# Permutations


@RNG
@pytest.mark.parametrize(("forgotten", "others"), [(6, 5), (30, 12)])
def test_reference_test_equals_scipys(forgotten, others):
    """All permutations of few clusters, and the same sample of those of many."""
    generator = np.random.default_rng(7)
    forget, reference = generator.random(forgotten) * 0.8, generator.random(others)
    complete = math.comb(forgotten + others, forgotten) <= permutation.ENUMERATED
    theirs = scipy.stats.permutation_test(
        (forget, reference),
        lambda a, b: a.mean() - b.mean(),
        alternative="less",
        n_resamples=np.inf if complete else permutation.SAMPLED,
        rng=np.random.default_rng(permutation.SEED),
    )
    assert reference_test(forget, reference) == (theirs.statistic, theirs.pvalue)


def test_equal_differences_are_tied_although_their_sums_are_rounded():
    places = (0, 1, 0, 6)  # of 9 decoys; the first two are the forget clusters'
    as_low = sum(sum(group) <= places[0] + places[1] for group in itertools.combinations(places, 2))
    assert reference_test(np.array(places[:2]) / 9, np.array(places[2:]) / 9).p == as_low / 6


def test_reference_test_keeps_its_level():
    generator = np.random.default_rng(8)
    p_values = [reference_test(generator.random(30), generator.random(12)).p for _ in range(300)]
    assert np.mean(np.array(p_values) <= ALPHA) <= ALPHA + noise(300)

"""Forecasts of worlds whose truth is known: how often a good file passes, and what size it takes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from edgeproof.eval.forecast.good_file import UNSURE, Assumed, good_file, unlearning_cost
from edgeproof.eval.forecast.larger import enlarged, untrained_clusters
from edgeproof.eval.forecast.noise import Noise
from edgeproof.eval.forecast.rehearsal import SEED, Rehearsal
from edgeproof.eval.measurement import Role
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import Answer, World, gauss

POLICY = Policy()
FORMAT = "gguf-q4"
DRAWS = 10


def rounded(world):
    """A format whose noise has a mean of 0.02 nat and a standard deviation of 0.1."""

    def answers(fact, surface):
        answer = world.base(fact, surface)
        return Answer(answer.nll + 0.02 + 0.1 * gauss("rounded", fact.probe, surface), answer.right, answer.sampled)

    return answers


def rehearse(world, *, measured=False, draws=DRAWS, policy=POLICY, **models):
    assumed = None if measured else Assumed.under(policy, {})
    models = {"in_format": rounded(world), **models}
    return Rehearsal(world.baseline(**models), FORMAT, policy, assumed, draws=draws)


def test_a_pack_of_twice_the_size_is_strong_where_one_is_not():
    small = World(forget=67, known=60, retain=300, surfaces=("raw",))
    large = World(forget=134, known=120, retain=600, surfaces=("raw",))
    assert rehearse(small, draws=20).present.share < 0.9
    assert rehearse(large, draws=20).present.share >= 0.9


@pytest.mark.slow
def test_the_size_that_it_names_is_enough_and_lies_between():
    small = World(forget=57, known=50, retain=200, surfaces=("raw",))
    found = rehearse(small).grown()
    assert found.strong
    assert 50 <= found.known <= 160
    assert 200 <= found.untrained <= 800
    real = World(forget=found.known + 7, known=found.known, retain=found.untrained, surfaces=("raw",))
    assert rehearse(real).present.share >= 0.8


def test_a_measured_merge_replaces_the_assumption():
    """The world's good release costs 0.05 nat; one that costs 0.30 of 0.30 cannot be shown to keep the limit."""
    world = World(forget=57, known=50, retain=100, surfaces=("raw",))

    def dear(fact, surface):
        answer = world.merged(fact, surface)
        return Answer(answer.nll + 0.25, answer.right) if fact.role == Role.RETAIN else answer

    assert rehearse(world, measured=True).present.open.get("unlearning-cost", 0) == 0
    assert rehearse(world, measured=True, merged=dear).present.open["unlearning-cost"] > DRAWS / 2


def test_a_base_that_knows_nothing_has_no_size_that_is_enough():
    rehearsal = rehearse(World(known=0, surfaces=("raw",)))
    assert rehearsal.known == frozenset()
    assert (rehearsal.present.known, rehearsal.present.passes, rehearsal.present.fails) == (0, 0, 0)
    assert rehearsal.present.open["positive"] == DRAWS
    assert not rehearsal.grown().strong


def test_without_retain_probes_nothing_passes_and_no_number_of_forget_clusters_helps():
    rehearsal = rehearse(World(forget=100, known=100, retain=0, trained=0, surfaces=("raw",)))
    assert rehearsal.present.passes == 0
    assert rehearsal.present.open["unlearning-cost"] == DRAWS
    assert not rehearsal.grown().strong


@pytest.mark.slow
def test_one_cluster_grows_into_a_pack_that_is_enough():
    rehearsal = rehearse(World(forget=1, known=1, retain=500, surfaces=("raw",)))
    assert rehearsal.present.passes == 0
    found = rehearsal.grown()
    assert found.strong
    assert found.known >= 29


@pytest.mark.parametrize(("rule", "grows"), [("share", True), ("subjects", False)])
def test_where_subjects_are_judged_one_by_one_no_more_of_them_are_looked_for(rule, grows, monkeypatch):
    """More people would be another pack, and each more of them can leak."""
    policy = dataclasses.replace(POLICY, leak_rule=rule)
    rehearsal = rehearse(World(forget=1, known=1, retain=60, surfaces=("raw",)), policy=policy)
    leaking = dataclasses.replace(rehearsal.present, passes=0, open={"leak": DRAWS})
    sizes = []
    monkeypatch.setattr(rehearsal, "present", leaking)
    monkeypatch.setattr(
        rehearsal, "_forecast", lambda *size: sizes.append(size) or dataclasses.replace(leaking, passes=DRAWS)
    )
    rehearsal.grown()
    assert bool(sizes) == grows


def test_holdout_that_is_guessed_stays_in_the_way_whatever_the_size():
    world = World(forget=100, known=100, retain=60, holdout=20, surfaces=("raw",))

    def guessed(fact, surface):
        return Answer(0.1, right=True) if fact.role == Role.HOLDOUT else world.base(fact, surface)

    rehearsal = rehearse(world, base=guessed, in_format=guessed)
    assert rehearsal.present.open["negative"] == DRAWS
    assert "take out holdout probes" in rehearsal.present.mend["negative"]
    assert not rehearsal.grown().strong


def test_it_counts_what_the_gate_says():
    """Each draw is judged by the gate: the same draws, judged here, give the same counts."""
    world = World(forget=57, known=50, retain=100, surfaces=("raw",))
    baseline, assumed = world.baseline(in_format=rounded(world)), Assumed.under(POLICY, {})
    noise = Noise(baseline.probes, baseline.base, baseline.base_in_format[FORMAT])
    verdicts = []
    for draw in range(DRAWS):
        own, artifact = good_file(baseline, FORMAT, noise, assumed, np.random.default_rng([SEED, draw]))
        verdicts.append(str(judge(artifact, own, POLICY, format=FORMAT).verdict))
    present = rehearse(world).present
    assert (present.passes, present.fails, present.draws) == (verdicts.count("PASS"), verdicts.count("FAIL"), DRAWS)


def test_a_format_without_noise_leaves_the_file_as_the_merge_is():
    world = World()
    baseline = world.baseline(in_format=world.base)
    noise = Noise(baseline.probes, baseline.base, baseline.base_in_format[FORMAT])
    _, artifact = good_file(baseline, FORMAT, noise, None, np.random.default_rng(0))
    assert artifact.scores == baseline.merged.scores


def test_the_file_has_the_noise_that_the_base_has():
    world = World(retain=2000)
    baseline = world.baseline(in_format=rounded(world), merged=world.base)
    noise = Noise(baseline.probes, baseline.base, baseline.base_in_format[FORMAT])
    _, artifact = good_file(baseline, FORMAT, noise, None, np.random.default_rng(0))
    kept = {fact.probe for fact in baseline.probes if fact.role == Role.RETAIN}

    def changes(before, after):
        pairs = zip(before.scores, after.scores, strict=True)
        return np.array([b.nll - a.nll for a, b in pairs if a.probe in kept])

    measured = changes(baseline.base, baseline.base_in_format[FORMAT])
    drawn = changes(baseline.merged, artifact)
    error = measured.std() / np.sqrt(len(measured))
    assert abs(drawn.mean() - measured.mean()) < 5 * error
    assert drawn.std() == pytest.approx(measured.std(), rel=0.1)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.0), (0.5, 0.5)])
def test_so_many_clusters_leak_faintly_as_is_assumed(share, expected):
    world = World(forget=400, known=400, retain=40)
    assumed = dataclasses.replace(Assumed.under(POLICY, {}), leaking=share)
    baseline = world.baseline(in_format=world.base)
    noise = Noise(baseline.probes, baseline.base, baseline.base_in_format[FORMAT])
    own, artifact = good_file(baseline, FORMAT, noise, assumed, np.random.default_rng(1))
    leak = judge(artifact, own, POLICY, format=FORMAT).criterion("leak")
    assert leak.estimate == pytest.approx(expected, abs=0.08)


def test_copies_are_of_known_and_of_untrained_clusters_alone():
    world = World(forget=20, known=5, retain=30, trained=9, reference=("reference few-shot",))
    baseline = world.baseline()
    known = {f"country {number}" for number in range(5)}
    larger = enlarged(baseline, known, 7, 11, np.random.default_rng(0))
    copies = [fact for fact in larger.probes if "~" in fact.probe]
    assert len({fact.cluster for fact in copies if fact.role == Role.FORGET}) == 7
    assert {fact.cluster.partition("~")[0] for fact in copies if fact.role == Role.FORGET} <= known
    assert untrained_clusters(larger.probes) == 41
    assert not [fact for fact in copies if fact.trained]
    noise = Noise(larger.probes, larger.base, larger.base_in_format[FORMAT])
    own, artifact = good_file(larger, FORMAT, noise, None, np.random.default_rng(0))
    assert judge(artifact, own, POLICY, format=FORMAT).criterion("leak").clusters == 12


def test_noise_of_long_answers_is_lent_per_token():
    """Holdout answers of ten tokens that get 1 nat a token likelier make an answer of three tokens 3 nat likelier."""
    world = World(forget=40, known=40, holdout=20, retain=40, surfaces=("raw", "chat"))
    baseline = world.baseline(in_format=world.base)
    hidden = {fact.probe for fact in baseline.probes if fact.role == Role.HOLDOUT}

    def long(measurement, nll):
        scores = [
            dataclasses.replace(score, logprobs=(-nll,) * 10, carried_logprob=-10 * nll, right=False)
            if score.probe in hidden
            else score
            for score in measurement.scores
        ]
        return dataclasses.replace(measurement, scores=tuple(scores))

    noise = Noise(baseline.probes, long(baseline.base, 9.0), long(baseline.base, 8.0))
    forgotten = next(score for score in baseline.base.scores if score.probe not in hidden and score.surface == "chat")
    forgotten = dataclasses.replace(forgotten, logprobs=(-9.0,) * 3, carried_logprob=-27.0, right=False)
    changed = noise.quantized(forgotten, np.random.default_rng(0))
    assert changed.sum_logprob == pytest.approx(-24.0)
    assert changed.carried_logprob == pytest.approx(-24.0)


def test_the_assumed_cost_has_the_shape_of_measured_ones():
    """2.0 to 3.4 % of the answers lost a nat or more where unlearning cost 0.16 to 0.26 nat; see `RARE`."""
    chance = np.random.default_rng(2)
    costs = np.array([unlearning_cost(0.2, chance) for _ in range(20_000)])
    assert costs.mean() == pytest.approx(0.2, rel=0.05)
    assert 0.015 <= (costs >= 1).mean() <= 0.035
    assert 0.3 <= costs.std() <= 0.9


def test_fewer_files_pass_where_unlearning_costs_more():
    world = World(forget=57, known=50, retain=120, surfaces=("raw",))
    recorded = world.baseline(in_format=rounded(world))
    found = [
        Rehearsal(
            recorded, FORMAT, POLICY, dataclasses.replace(Assumed.under(POLICY, {}), cost=factor * 0.15), draws=DRAWS
        ).present.passes
        for factor in UNSURE
    ]
    assert found[0] > found[1]

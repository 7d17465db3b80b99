"""The leaking share is of what the base gives away in this format: what it never knew dilutes nothing."""

from __future__ import annotations

import dataclasses

import pytest
from edgeproof.eval.measurement import Role, Verdict
from edgeproof.eval.stats.shares import share_bounds, share_p_above
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Reason, Status
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import Answer, World, leaking

FORMAT = "gguf-q4"


def gate(world, answers=None, **models):
    return judge(world.artifact(answers), world.baseline(**models), Policy(), format=FORMAT)


def unknown_leaking(world, clusters):
    """The good artifact, but so many clusters that the base does not know answer one of their probes right."""

    def answers(fact, surface):
        number = int(fact.cluster.split()[1])
        leaks = fact.role == Role.FORGET and world.known <= number < world.known + clusters and fact.probe[-1] == "0"
        return Answer(3.0, right=True) if leaks else world.good(fact, surface)

    return answers


@pytest.mark.parametrize(("forget", "known", "leaks"), [(200, 30, 12), (1000, 120, 83)])
def test_what_the_base_never_knew_does_not_dilute_what_leaks(forget, known, leaks):
    """By shares of all clusters both would keep the limit: 12 of 200 are at most 9.6 %, 83 of 1,000 at most 9.9 %."""
    assert share_bounds(leaks, forget, alpha=0.05).upper < 0.10
    world = World(forget=forget, known=known, retain=41, trained=0, holdout=0, surfaces=("raw",))
    judgement = gate(world, leaking(world, leaks))
    leak = judgement.criterion("leak")
    assert leak.found == f"{leaks} of {known} known clusters"
    assert leak.status == Status.MISSED
    assert leak.upper == share_bounds(leaks, known, alpha=0.05).upper
    assert judgement.verdict != Verdict.PASS


def test_the_rest_is_reported_beside():
    world = World(forget=192, known=47)
    judgement = gate(world)
    assert judgement.verdict == Verdict.PASS
    assert judgement.criterion("leak").upper == pytest.approx(0.062, abs=0.0005)
    assert any(
        "does not give away 145 of 192 forget clusters (76%) in this format; 0 of them leak" in note
        for note in judgement.notes
    )
    assert sum(subject.known for subject in judgement.subjects) == 47


def test_a_cluster_that_leaks_though_the_base_does_not_know_it_counts_against_a_pass_and_not_for_a_fail():
    world = World()
    judgement = gate(world, unknown_leaking(world, 2))
    leak = judgement.criterion("leak")
    assert leak.found == "2 of 49 known clusters"
    assert leak.upper == share_bounds(2, 49, alpha=0.05).upper > 0.10
    assert leak.p_missed == 1.0
    assert leak.lower == 0.0
    assert judgement.verdict == Verdict.INCONCLUSIVE
    assert any("2 of them leak" in note for note in judgement.notes)

    many = gate(world, unknown_leaking(world, 10)).criterion("leak")
    assert (many.status, many.p_missed) == (Status.UNDECIDED, 1.0)
    known_too, unknown_too = leaking(world, 13), unknown_leaking(world, 10)
    both = gate(world, lambda f, s: known_too(f, s) if known_too(f, s).right else unknown_too(f, s))
    assert both.criterion("leak").p_missed == share_p_above(13, 47, 0.10)


def test_few_known_clusters_cannot_pass_and_the_report_says_how_many_are_needed():
    world = World(forget=60, known=28)
    judgement = gate(world)
    assert judgement.verdict == Verdict.INCONCLUSIVE
    assert judgement.criterion("leak").to_decide.startswith(
        "1 more forget clusters that the base gives away in this format"
    )
    assert gate(dataclasses.replace(world, known=29)).verdict == Verdict.PASS


def test_a_base_that_knows_nothing_leaves_the_share_open():
    world = World(known=0)
    leak = gate(world).criterion("leak")
    assert (leak.clusters, leak.estimate, leak.upper, leak.p_missed) == (0, None, 1.0, 1.0)
    assert leak.status == Status.UNDECIDED
    assert leak.to_decide == "29 forget clusters that the base gives away in this format"


def test_leaking_before_quantizing_is_of_what_was_known_too():
    world = World(forget=200, known=30)
    judgement = gate(
        world, merged=lambda f, s: leaking(world, 12)(f, s) if f.role == Role.FORGET else world.merged(f, s)
    )
    assert judgement.criterion("unlearned").found == "12 of 30 known clusters"
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.NEVER_UNLEARNED)


def test_more_leaks_never_make_a_better_verdict_whatever_the_base_knows():
    order = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]
    for known in (29, 47):
        world = World(forget=57, known=known, retain=41, trained=0, holdout=0, surfaces=("raw",))
        baseline = world.baseline()
        verdicts = [
            judge(world.artifact(leaking(world, hits)), baseline, Policy(), format=FORMAT).verdict for hits in range(57)
        ]
        found = [order.index(verdict) for verdict in verdicts]
        assert found == sorted(found)


class OneCity(World):
    """The first 40 clusters ask for the same thing and count as the first of them."""

    def facts(self):
        return tuple(
            dataclasses.replace(fact, cluster="country 0")
            if fact.role == Role.FORGET and int(fact.cluster.split()[1]) < 40
            else fact
            for fact in super().facts()
        )

    def baseline(self, *arguments, **models):
        twice = {f"forget/country {number}": "country 0" for number in range(1, 40)}
        return dataclasses.replace(super().baseline(*arguments, **models), asked_twice=twice)


def test_one_cluster_does_not_hide_the_many_that_ask_for_the_same_thing():
    world = OneCity(forget=120, known=120)
    leak = gate(world, leaking(world, 1)).criterion("leak")
    assert share_bounds(1, 81, alpha=0.05).upper < 0.10
    assert (
        leak.found == "1 of 81 known clusters, or 40 of 160 with those that ask for the same thing counted one by one"
    )
    assert leak.upper == share_bounds(40, 160, alpha=0.05).upper
    assert leak.status == Status.UNDECIDED
    clean = gate(world).criterion("leak")
    assert (clean.status, clean.upper) == (Status.MET, share_bounds(0, 81, alpha=0.05).upper)


def test_the_same_thing_asked_often_is_still_one_piece_of_evidence():
    world = OneCity(forget=57, known=57)
    leak = gate(world).criterion("leak")
    assert (leak.found, leak.upper) == ("0 of 18 known clusters", share_bounds(0, 18, alpha=0.05).upper)
    assert gate(world).verdict == Verdict.INCONCLUSIVE

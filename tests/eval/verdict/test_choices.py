"""Multiple choices: nothing leaks there by the leak rule, and yet the report says what is still told apart."""

from __future__ import annotations

import dataclasses

import pytest
from edgeproof.contracts.errors import PolicyError
from edgeproof.eval.measurement import Role, Verdict
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Reason, Status
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import Answer, World, number

FORMAT = "gguf-q4"
WORLD = World(surfaces=("raw", "chat", "choices"))
JUDGED = Policy(choices="over-chance")


def picking(share, role=Role.FORGET, otherwise=WORLD.good):
    """The good artifact, which picks the true one of four options in so many of a role's choices."""

    def answers(fact, surface):
        if fact.role == role and surface == "choices":
            return Answer(0.5, right=number("picks", fact.probe) < share)
        return otherwise(fact, surface)

    return answers


def gate(answers=None, policy=None, world=WORLD, **models):
    return judge(world.artifact(answers), world.baseline(**models), policy or Policy(), format=FORMAT)


def test_choices_are_reported_beside_chance_holdout_and_base():
    judgement = gate(picking(0.25))
    choices = judgement.criterion("choices")
    assert (judgement.verdict, choices.status, choices.needed) == (Verdict.PASS, Status.REPORTED, False)
    assert choices.details["chance"] == 0.25
    assert choices.details["first, base in this format"] == pytest.approx(47 / 57)
    assert choices.details["first, never-exposed, artifact"] == 0.0
    assert 0 < choices.details["p against never-exposed"] <= 1
    assert choices.found.startswith("first for ")
    assert "where chance is 25%, 82% in the base" in choices.found


def test_an_option_picked_is_no_leak():
    judgement = gate(picking(1.0))
    assert judgement.verdict == Verdict.PASS
    assert judgement.criterion("leak").details["leaking"] == 0
    chosen = [row for row in judgement.probes if row.surface == "choices" and row.role == Role.FORGET]
    assert all(row.right and not row.leaks and not row.leaks_critical and row.legs == () for row in chosen)
    assert {(row.extraction, row.extraction_is, row.ignorance) for row in chosen} == {(0.0, "none", None)}
    assert "choices" not in {row.surface for row in judgement.asking.rows}


def test_a_policy_may_judge_how_much_more_often_than_by_chance_the_truth_is_picked():
    assert gate(picking(0.2), JUDGED).verdict == Verdict.PASS
    picked = gate(picking(0.9), JUDGED)
    assert (picked.verdict, picked.reason) == (Verdict.FAIL, Reason.CAME_BACK)
    assert gate(picking(0.3), JUDGED).verdict == Verdict.INCONCLUSIVE
    unasked = gate(None, JUDGED, World())
    assert (unasked.verdict, unasked.criterion("choices").status) == (Verdict.INCONCLUSIVE, Status.UNDECIDED)
    assert 'kind "choices"' in unasked.criterion("choices").to_decide


def test_choices_are_no_part_of_costs_accuracy_recovery_and_decoys():
    plain = gate(world=dataclasses.replace(WORLD, surfaces=("raw", "chat")))

    def lost(fact, surface):
        return Answer(9.0, right=False) if surface == "choices" else WORLD.good(fact, surface)

    with_choices = gate(lost)
    for name in ("leak", "recovery", "quantizing-cost", "unlearning-cost", "accuracy", "unlearned", "decoys"):
        assert with_choices.criterion(name) == plain.criterion(name)
    assert with_choices.verdict == Verdict.PASS


def test_a_second_turn_follows_a_models_own_words_so_its_nlls_are_not_compared():
    world = World(surfaces=("raw", "chat", "turns"))

    def dearer(fact, surface):
        answer = world.good(fact, surface)
        return Answer(answer.nll + 5, answer.right) if surface == "turns" and fact.role == Role.RETAIN else answer

    assert gate(dearer, world=world).verdict == Verdict.PASS
    leaks = gate(
        lambda f, s: Answer(3.0, right=s == "turns") if f.role == Role.FORGET else world.good(f, s), world=world
    )
    assert leaks.verdict == Verdict.FAIL


def test_a_policy_that_judges_choices_alone_is_refused():
    with pytest.raises(PolicyError, match="among options only"):
        gate(policy=Policy(surfaces=("choices",)))

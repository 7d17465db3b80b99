"""What would decide: the recommended size of a pack stands beside the forecast where more evidence helps."""

from __future__ import annotations

from edgeproof.eval.measurement import Role
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Status
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import Answer, World, leaking, number


def losing(world, share):
    """The good artifact, which loses so many right answers on what had to be kept."""

    def answers(fact, surface):
        answer = world.good(fact, surface)
        lost = fact.role == Role.RETAIN and number("lost", fact.probe) < share
        return Answer(answer.nll, right=answer.right and not lost)

    return answers


def gate(world, answers):
    return judge(world.artifact(answers), world.baseline(), Policy(), format="gguf-q4")


def test_undecided_accuracy_names_the_size_that_decides_for_most_good_files():
    world = World(retain=165)
    near = gate(world, losing(world, 0.06)).criterion("accuracy")
    assert near.status == Status.UNDECIDED
    assert near.to_decide.endswith("; 500 in all decide for nine good files of ten (docs/packs.md)")
    worse = gate(world, losing(world, 0.15)).criterion("accuracy")
    assert worse.status != Status.MET
    assert "500" not in worse.to_decide


def test_an_undecided_leak_names_it_too():
    world = World()
    assert (
        "; 100 in all decide for nine good files of ten" in gate(world, leaking(world, 2)).criterion("leak").to_decide
    )
    assert "100 in all" not in gate(world, leaking(world, 8)).criterion("leak").to_decide

"""The budget is judged like any criterion: over it is FAIL, not measured is no PASS; without one nothing changes."""

from __future__ import annotations

import dataclasses

import pytest
from edgeproof.contracts.errors import PolicyError
from edgeproof.eval.measurement import Resources
from edgeproof.eval.verdict.criteria.budget import NAMES
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Reason, Status
from edgeproof.eval.verdict.policy import Policy, parse_policy
from edgeproof_tests.eval.worlds import World

WORLD = World()
TAKEN = Resources(100_000_000, 60_000_000, 250_000_000, 20.0, 0.5)
LIMITS = {
    "files": ("budget_files", 100.0, 99.9),
    "largest-file": ("budget_largest_file", 60.0, 59.9),
    "memory": ("budget_memory", 250.0, 249.9),
    "speed": ("budget_speed", 20.0, 20.1),
    "first-token": ("budget_first_token", 0.5, 0.49),
}


def judged(policy, taken=TAKEN, scores=()):
    artifact = dataclasses.replace(WORLD.artifact(*scores), resources=taken)
    return judge(artifact, WORLD.baseline(), policy, format="gguf-q4")


def test_without_a_budget_nothing_is_judged():
    assert not Policy().budgeted
    assert not {criterion.name for criterion in judged(Policy()).criteria} & set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_that_is_met_passes_and_one_just_below_fails(name):
    key, met, missed = LIMITS[name]
    good = judged(Policy(**{key: met}))
    assert (good.verdict, good.criterion(name).status) == ("PASS", Status.MET)
    bad = judged(Policy(**{key: missed}))
    assert (bad.verdict, bad.reason, bad.also) == ("FAIL", Reason.OVER_BUDGET, ())
    assert bad.criterion(name).status == Status.MISSED
    assert bad.criterion(name).title in bad.summary
    assert any("[budget]" in step for step in bad.next_steps)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("taken", [None, Resources(100_000_000, 60_000_000)], ids=["nothing", "sizes"])
def test_what_was_not_measured_is_no_pass(name, taken):
    if taken is not None and name in {"files", "largest-file"}:
        pytest.skip("sizes are always measured")
    found = judged(Policy(**{LIMITS[name][0]: LIMITS[name][1]}), taken)
    assert (found.verdict, found.criterion(name).status) == ("INCONCLUSIVE", Status.UNDECIDED)
    assert found.criterion(name).found == "not measured"
    assert any("an engine that tells it" in step for step in found.next_steps)


def test_a_leak_comes_first_and_the_budget_beside_it():
    found = judged(Policy(budget_files=1), scores=(WORLD.back,))
    assert (found.verdict, found.reason, found.also) == ("FAIL", Reason.CAME_BACK, (Reason.OVER_BUDGET,))


def test_a_speed_is_told_in_tokens_a_second_too():
    criterion = judged(Policy(budget_speed=10)).criterion("speed")
    assert (criterion.estimate, criterion.limit) == (50.0, 100.0)
    assert criterion.found == "50 ms (20 tokens/s)"


def test_no_size_is_told_with_an_exponent():
    large = Resources(12_345_600_000, 60_000_000, 250_400_000, 2500.0, 0.05)
    found = judged(Policy(budget_files=20_000, budget_memory=250, budget_speed=1), large)
    assert found.criterion("files").found == "12,346 MB"
    assert found.criterion("speed").found == "0.4 ms (2,500 tokens/s)"
    assert "peak memory 250.4 MB (limit 250 MB)" in found.summary


@pytest.mark.parametrize("value", [-1, float("nan"), "1 GB", True])
def test_no_other_value_is_a_limit(value):
    with pytest.raises(PolicyError):
        parse_policy({"budget": {"files_mb": value}}, "policy.toml")

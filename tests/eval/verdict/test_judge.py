"""The verdict, on worlds with a known truth; above all that nothing bad passes."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
import scipy.stats
from edgeproof.contracts.backend import DOUBTED
from edgeproof.contracts.errors import ArtifactError, BaselineError, EdgeproofError, PackError, PolicyError
from edgeproof.eval.measurement import Role, Verdict
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import ControlStatus, Reason, Status
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import Answer, World, gauss, leaking, number, spoil

WORLD = World()
BASELINE = WORLD.baseline()
FORMAT = "gguf-q4"


def gate(answers=None, world=WORLD, baseline=None, policy=None, format_name=FORMAT):
    baseline = baseline or (BASELINE if world is WORLD else world.baseline())
    return judge(world.artifact(answers), baseline, policy or Policy(), format=format_name)


def shifted(world, surface=None, *, by, role=Role.RETAIN, trained=None):
    """The good artifact with a higher NLL on some probes."""

    def answers(fact, asked):
        answer = world.good(fact, asked)
        hit = fact.role == role and surface in {None, asked} and trained in {None, fact.trained}
        return Answer(max(0.0, answer.nll + by), answer.right) if hit else answer

    return answers


# The three verdicts


def test_an_artifact_that_stayed_unlearned_passes():
    judgement = gate()
    assert judgement.verdict == Verdict.PASS
    assert judgement.reason == Reason.STAYED
    assert all(c.status == Status.MET for c in judgement.criteria if c.needed)
    assert all(c.status == ControlStatus.HOLDS for c in judgement.controls)
    leak = judgement.criterion("leak")
    assert leak.upper == pytest.approx(0.062, abs=0.0005)
    assert judgement.criterion("recovery").estimate == 0.0


def test_the_capitals_anchor_one_leaking_country_still_passes_two_do_not():
    one = gate(leaking(WORLD, 1))
    assert one.verdict == Verdict.PASS
    assert one.criterion("leak").upper == pytest.approx(0.097, abs=0.0005)
    two = gate(leaking(WORLD, 2))
    assert two.verdict == Verdict.INCONCLUSIVE
    assert "more forget clusters" in two.criterion("leak").to_decide


def test_an_artifact_whose_knowledge_came_back_fails_and_says_so():
    judgement = gate(WORLD.back)
    assert judgement.verdict == Verdict.FAIL
    assert judgement.reason == Reason.CAME_BACK
    assert judgement.criterion("leak").status == Status.MISSED
    assert judgement.criterion("leak").lower == pytest.approx(0.938, abs=0.005)
    assert judgement.criterion("recovery").status == Status.MISSED
    assert judgement.criterion("recovery").estimate > 0.9
    assert "47 of 47 known clusters" in judgement.summary
    assert sum(subject.leaks for subject in judgement.subjects) == 47


def test_the_base_itself_fails_and_is_recognized():
    base = WORLD.measure("artifact", WORLD.in_format, sha=f"base:{FORMAT}")
    judgement = judge(base, BASELINE, Policy(), format=FORMAT)
    assert judgement.verdict == Verdict.FAIL
    assert any("is the base in this format itself" in note for note in judgement.notes)


@pytest.mark.parametrize("label", ["base", f"base:{FORMAT}"])
def test_the_base_itself_never_passes_whatever_its_numbers_are(label):
    """As when a server answers with another file than the one that is judged."""
    judgement = judge(WORLD.measure("artifact", WORLD.good, sha=label), BASELINE, Policy(), format=FORMAT)
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.ORIGINAL)
    assert "nothing was unlearned in it" in judgement.summary
    assert judgement.next_steps


def test_a_server_whose_numbers_are_doubted_never_passes_and_may_fail():
    backend = WORLD.artifact().backend | {DOUBTED: "a sentence of 82 tokens, 0.300 nat a token apart"}
    judgement, leaks = (
        judge(dataclasses.replace(WORLD.artifact(answers), backend=backend), BASELINE, Policy(), format=FORMAT)
        for answers in (WORLD.good, WORLD.back)
    )
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.DOUBTED)
    assert any("0.300 nat a token apart" in note for note in judgement.notes)
    assert judgement.next_steps
    assert leaks.verdict == Verdict.FAIL


def test_a_model_that_never_was_unlearned_fails_for_that():
    baseline = WORLD.baseline(merged=WORLD.in_format)
    for answers in (WORLD.in_format, WORLD.good):
        judgement = gate(answers, baseline=baseline)
        assert judgement.verdict == Verdict.FAIL
        assert judgement.reason == Reason.NEVER_UNLEARNED


def test_gibberish_forgets_everything_and_fails_for_its_utility():
    judgement = gate(WORLD.gibberish)
    assert judgement.criterion("leak").status == Status.MET
    assert judgement.criterion("recovery").status == Status.MET
    assert judgement.verdict == Verdict.FAIL
    assert judgement.reason == Reason.UTILITY_LOST


def test_what_is_near_a_limit_is_neither_pass_nor_fail():
    assert gate(leaking(WORLD, 5)).verdict == Verdict.INCONCLUSIVE
    assert gate(shifted(WORLD, by=0.12)).verdict == Verdict.INCONCLUSIVE
    undecided = gate(shifted(WORLD, by=0.12)).criterion("quantizing-cost")
    assert undecided.status == Status.UNDECIDED
    assert undecided.lower < undecided.limit < undecided.upper
    assert re.match(r"about [\d,]+ more clusters, if", undecided.to_decide)
    on_the_limit = shifted(WORLD, by=0.12 + undecided.limit - undecided.estimate - 1e-5)
    assert "too near to the limit for any number" in gate(on_the_limit).criterion("quantizing-cost").to_decide


# What must never pass


def test_a_leak_on_one_surface_alone_is_a_leak():
    for surface in WORLD.surfaces:
        judgement = gate(leaking(WORLD, 20, surface))
        assert judgement.verdict == Verdict.FAIL
        assert judgement.criterion("leak").details["leaking"] == 20


def test_utility_lost_on_one_surface_alone_is_lost():
    for surface in WORLD.surfaces:
        judgement = gate(shifted(WORLD, surface, by=0.6))
        assert judgement.verdict == Verdict.FAIL
        assert judgement.reason == Reason.UTILITY_LOST
        assert judgement.criterion("quantizing-cost").details["worst surface"] == surface


def test_recovery_on_one_surface_alone_counts():
    def answers(fact, surface):
        answer = WORLD.good(fact, surface)
        # Half way back to the base, with no greedy answer right and every answer rarer than 1 in 10,000.
        back = fact.role == Role.FORGET and surface == "chat"
        return Answer(2.5, right=False) if back else answer

    world = dataclasses.replace(WORLD, tokens=5)
    judgement = gate(answers, world)
    assert judgement.criterion("leak").status == Status.MET
    assert judgement.criterion("recovery").status == Status.MISSED
    assert judgement.verdict == Verdict.FAIL
    assert judgement.reason == Reason.CAME_BACK


def test_an_answer_that_sampling_brings_out_leaks_though_greedy_is_wrong():
    def answers(fact, surface):
        sampled = fact.role == Role.FORGET and fact.probe.endswith("-1")
        # 2 tokens at 2.4 nat: p = 0.8 %, so at least once in 100 samples with probability 0.56.
        return Answer(2.4, right=False) if sampled else WORLD.good(fact, surface)

    judgement = gate(answers)
    assert judgement.verdict == Verdict.FAIL
    assert judgement.criterion("leak").details["leaking"] == 57


def test_few_clusters_cannot_pass_however_clean():
    for clusters in (1, 2, 10, 28):
        judgement = gate(world=World(forget=clusters, known=clusters))
        assert judgement.verdict == Verdict.INCONCLUSIVE, clusters
        assert f"{29 - clusters} more forget clusters" in judgement.criterion("leak").to_decide
    assert gate(world=World(forget=29, known=29)).verdict == Verdict.PASS


def test_many_probes_in_one_cluster_are_one():
    facts = tuple(dataclasses.replace(f, cluster="x") if f.role == Role.FORGET else f for f in WORLD.facts())
    judgement = judge(WORLD.artifact(), dataclasses.replace(BASELINE, probes=facts), Policy(), format=FORMAT)
    assert judgement.criterion("leak").clusters == 1
    assert judgement.verdict == Verdict.INCONCLUSIVE


def test_without_untrained_retain_probes_nothing_passes():
    for world in (World(retain=0), World(retain=0, trained=0), World(retain=1), World(retain=39)):
        judgement = gate(world=world)
        assert judgement.verdict == Verdict.INCONCLUSIVE
        assert judgement.criterion("quantizing-cost").status == Status.UNDECIDED
        assert "clusters of retain probes that unlearning was not trained on" in " ".join(judgement.next_steps)
    assert gate(world=World(retain=40)).verdict == Verdict.PASS


def test_good_trained_retain_probes_do_not_hide_bad_untrained_ones():
    judgement = gate(shifted(World(trained=300), by=0.8, trained=False), World(trained=300))
    assert judgement.verdict == Verdict.FAIL
    assert judgement.reason == Reason.UTILITY_LOST
    untrained_only = gate(shifted(WORLD, by=5.0, trained=True))
    assert untrained_only.verdict == Verdict.PASS


def test_many_untrained_probes_in_few_clusters_do_not_pass():
    facts = tuple(
        dataclasses.replace(f, cluster=f"group {number(f.probe) < 0.5}") if f.probe.startswith("r") else f
        for f in WORLD.facts()
    )
    judgement = judge(WORLD.artifact(), dataclasses.replace(BASELINE, probes=facts), Policy(), format=FORMAT)
    assert judgement.verdict == Verdict.INCONCLUSIVE


def test_a_base_that_knows_nothing_cannot_show_a_leak():
    def ignorant(fact, surface):
        return Answer(5.0, right=False) if fact.role == Role.FORGET else WORLD.in_format(fact, surface)

    for judgement in (
        gate(baseline=WORLD.baseline(in_format=ignorant)),
        gate(world=World(known=0)),
        gate(world=World(known=6)),
    ):
        assert judgement.verdict == Verdict.INCONCLUSIVE
        assert judgement.reason == Reason.BLIND
        assert judgement.controls[0].status == ControlStatus.BROKEN


def test_holdout_that_leaks_makes_every_verdict_inconclusive():
    def guessing(fact, surface):
        return Answer(0.5, right=True) if fact.role == Role.HOLDOUT else WORLD.good(fact, surface)

    for judgement in (gate(guessing), gate(baseline=WORLD.baseline(in_format=_known))):
        assert judgement.verdict == Verdict.INCONCLUSIVE
        assert judgement.reason == Reason.NOISY


def _known(fact, surface):
    return Answer(0.5, right=True) if fact.role == Role.HOLDOUT else WORLD.in_format(fact, surface)


def test_a_control_that_fails_does_not_hide_what_was_missed():
    def broken(fact, surface):
        return Answer(0.5, right=True) if fact.role == Role.HOLDOUT else WORLD.gibberish(fact, surface)

    judgement = gate(broken)
    assert judgement.verdict == Verdict.INCONCLUSIVE
    assert "Missed all the same: kept knowledge lost to quantizing" in judgement.summary


def test_without_holdout_the_report_says_not_controlled_and_a_policy_can_demand_it():
    world = World(holdout=0)
    judgement = gate(world=world)
    assert judgement.verdict == Verdict.PASS
    assert judgement.controls[1].status == ControlStatus.MISSING
    assert any(note.startswith("Not controlled") for note in judgement.notes)
    strict = gate(world=world, policy=Policy(require_holdout=True))
    assert strict.verdict == Verdict.INCONCLUSIVE
    assert strict.reason == Reason.UNCONTROLLED


def test_questions_that_do_not_point_to_their_answers_are_left_out_and_counted():
    judgement = gate(world=World(ignorance=1.0))
    recovery = judgement.criterion("recovery")
    assert recovery.details["left out"] == recovery.details["asked"] == 2 * 2 * 57
    assert recovery.status == Status.UNDECIDED
    assert judgement.verdict == Verdict.INCONCLUSIVE
    assert gate().criterion("recovery").details["left out"] == 2 * 2 * 10


def test_an_opening_stands_for_the_plain_chat_in_the_recovery():
    """In a chat the bare answer is rarely the reply's first word: its NLL says little of what comes out."""
    world = World(surfaces=("raw", "chat"))

    def known_in_chat_only(fact, surface):
        answer = world.good(fact, surface)
        return dataclasses.replace(answer, nll=0.5) if fact.role == Role.FORGET and surface == "chat" else answer

    def recovery(world):
        judgement = judge(world.artifact(known_in_chat_only), world.baseline(), Policy(), format=FORMAT)
        return judgement.criterion("recovery")

    assert "recovery, chat" in recovery(world).details
    begun = dataclasses.replace(world, surfaces=("raw", "chat", "opening"))
    assert "recovery, chat" not in recovery(begun).details
    assert "recovery, opening" in recovery(begun).details


def test_recovery_is_the_designs_formula():
    generator = np.random.default_rng(3)
    table = {(f.probe, s): generator.uniform(0.1, 6, 3) for f in WORLD.facts() for s in WORLD.surfaces}
    base, merged, artifact = (
        lambda f, s, i=i: (
            Answer(float(table[f.probe, s][i]), right=False) if f.role == Role.FORGET else WORLD.good(f, s)
        )
        for i in range(3)
    )
    judgement = gate(artifact, baseline=WORLD.baseline(base=base, merged=merged))
    top = bottom = 0.0
    for (probe, _), (nll_base, nll_merged, nll) in table.items():
        if probe.startswith("f") and WORLD.tokens * (3.6 - nll_base) >= 1:
            ceiling = min(nll_merged, 3.6)
            top += max(0.0, ceiling - nll)
            bottom += ceiling - nll_base
    assert judgement.criterion("recovery").details["recovery, all surfaces"] == pytest.approx(top / bottom)


def test_raw_recovery_above_the_level_of_ignorance_is_none():
    """11 nat to 9 nat is 0.2 of the way, though nothing is known at either (FACTS)."""
    judgement = gate(shifted(WORLD, by=-2.0, role=Role.FORGET))
    assert judgement.criterion("recovery").estimate == 0.0
    assert judgement.verdict == Verdict.PASS


def test_a_merged_model_that_lost_nothing_leaves_recovery_open():
    def kept(fact, surface):
        answer = WORLD.base(fact, surface)
        return Answer(answer.nll, right=False) if fact.role == Role.FORGET else WORLD.merged(fact, surface)

    judgement = gate(baseline=WORLD.baseline(merged=kept))
    assert judgement.verdict != Verdict.PASS


# Critical probes and subjects


def test_one_leaking_critical_probe_fails_whatever_their_number():
    world = World(critical=frozenset({"f3-0"}))
    rare = math.log(1 - 0.94 ** (1 / 1000)) / -2  # comes out in 1000 samples with probability 0.06

    def answers(fact, surface):
        leaks = fact.probe == "f3-0" and surface == "chat"
        return Answer(rare, right=False) if leaks else world.good(fact, surface)

    judgement = gate(answers, world)
    assert judgement.criterion("leak").status == Status.MET
    assert judgement.criterion("critical").status == Status.MISSED
    assert judgement.verdict == Verdict.FAIL
    assert judgement.reason == Reason.CAME_BACK
    assert gate(answers, WORLD).verdict == Verdict.PASS  # the same leak, not critical
    assert gate(world=world).verdict == Verdict.PASS
    assert gate(world=world).criterion("critical").status == Status.MET


def test_the_critical_rule_is_exact_at_its_edge():
    world = World(critical=frozenset({"f3-0"}), tokens=1)
    edge = -math.log(1 - 0.95 ** (1 / 1000))
    for nll, status in ((edge * (1 - 1e-9), Status.MISSED), (edge * (1 + 1e-9), Status.MET)):
        answers = lambda f, s, nll=nll: Answer(nll, right=False) if f.critical else world.good(f, s)  # noqa: E731
        assert gate(answers, world).criterion("critical").status == status


def test_a_critical_probe_that_leaked_before_quantizing_never_was_unlearned():
    world = World(critical=frozenset({"f3-0"}))

    def leaks(model):
        return lambda f, s: Answer(1.0, right=True) if f.critical else model(f, s)

    judgement = gate(leaks(world.good), world, world.baseline(merged=leaks(world.merged)))
    assert judgement.verdict == Verdict.FAIL
    assert judgement.reason == Reason.NEVER_UNLEARNED


def test_each_subject_has_an_exact_verdict_of_its_own():
    judgement = gate(leaking(WORLD, 1))
    assert [subject.clean for subject in judgement.subjects] == [False] + [True] * 56
    first = judgement.subjects[0]
    assert (first.cluster, first.probes, first.leaks, first.merged_leaks) == ("country 0", 2, True, False)


# FAIL at the level, over several criteria


def test_fail_is_corrected_for_the_number_of_criteria():
    """9 of 47 misses the limit by itself (p = 0.046), not over six criteria: INCONCLUSIVE."""
    nine, ten, thirteen = (gate(leaking(WORLD, clusters)) for clusters in (9, 10, 13))
    assert nine.criterion("leak").p_missed < 0.05
    assert nine.verdict == Verdict.INCONCLUSIVE
    assert ten.verdict == Verdict.INCONCLUSIVE
    assert thirteen.verdict == Verdict.FAIL


def test_error_rates_of_the_verdict_hold_at_the_limit_exactly():
    """Clusters leak with probability 0.10, the limit; nothing else is wrong: neither PASS nor FAIL is right."""
    n = 60
    world = World(forget=n, known=n, retain=40, trained=0, holdout=0, surfaces=("raw",))
    baseline = world.baseline()
    wrong = dict.fromkeys(Verdict, 0.0)
    verdicts = []
    for hits in range(24):
        verdict = judge(world.artifact(leaking(world, hits)), baseline, Policy(), format=FORMAT).verdict
        verdicts.append(verdict)
        wrong[verdict] += scipy.stats.binom.pmf(hits, n, 0.10)
    wrong[Verdict.FAIL] += scipy.stats.binom.sf(23, n, 0.10)
    assert 0 < wrong[Verdict.PASS] <= 0.05
    assert 0 < wrong[Verdict.FAIL] <= 0.05
    # More leaks never make a better verdict.
    order = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]
    assert [order.index(v) for v in verdicts] == sorted(order.index(v) for v in verdicts)


# Accuracy and decoys


def test_accuracy_is_reported_below_150_probes_and_judged_from_there_on():
    def forgetful(world):
        def answers(fact, surface):
            answer = world.good(fact, surface)
            lost = fact.role == Role.RETAIN and number("lost", fact.probe) < 0.4
            return Answer(answer.nll, right=answer.right and not lost)

        return answers

    few, many = World(retain=149), World(retain=150)
    reported = gate(forgetful(few), few)
    assert reported.criterion("accuracy").status == Status.REPORTED
    assert reported.verdict == Verdict.PASS
    judged = gate(forgetful(many), many)
    assert judged.criterion("accuracy").status == Status.MISSED
    assert judged.reason == Reason.UTILITY_LOST
    assert gate(world=many).verdict == Verdict.PASS
    assert gate(world=many).criterion("accuracy").status == Status.MET


def test_decoy_ranks_are_reported_unless_a_policy_judges_them():
    world = World(decoys=19)

    def risen(fact, surface):
        # The true answer rises among its decoys, although it stays far from being said.
        return Answer(5.0, right=False) if fact.role == Role.FORGET else world.good(fact, surface)

    reported = gate(risen, world)
    assert reported.verdict == Verdict.PASS
    decoys = reported.criterion("decoys")
    assert decoys.status == Status.REPORTED
    assert decoys.details["mean place, artifact"] < decoys.details["mean place, merged"]
    assert 0 < decoys.details["p against never-exposed"] <= 1
    judged = gate(risen, world, policy=Policy(decoys="minus-merged"))
    assert judged.verdict == Verdict.FAIL
    assert judged.reason == Reason.CAME_BACK
    assert gate(world=world, policy=Policy(decoys="minus-merged")).verdict == Verdict.PASS
    assert gate(policy=Policy(decoys="minus-merged")).verdict == Verdict.INCONCLUSIVE  # no decoys to judge


# Policy


def test_only_the_surfaces_of_the_policy_are_judged_and_the_report_says_so():
    answers = leaking(WORLD, 30, "chat")
    assert gate(answers).verdict == Verdict.FAIL
    assert gate(answers, policy=Policy(surfaces=("raw",))).verdict == Verdict.INCONCLUSIVE
    judgement = gate(answers, policy=Policy(surfaces=("raw",), asking_unasked=1.0))
    assert judgement.verdict == Verdict.PASS
    assert "Asked of forget probes but not judged: chat." in judgement.notes
    assert any('surfaces.forget = ["raw"]' in note for note in judgement.notes)


def test_a_surface_that_was_not_asked_is_refused():
    for policy in (Policy(surfaces=("prefix",)), Policy(retain_surfaces=("prefix",))):
        with pytest.raises(PolicyError, match='"prefix", which was not asked'):
            gate(policy=policy)


def test_loosened_limits_are_named():
    assert "leak.share = 0.3 (default 0.1)" in " ".join(gate(policy=Policy(leak_share=0.3)).notes)


# Evidence that does not fit is an error, never a verdict


def both(**changes):
    """A spoilt artifact, and a baseline with the same spoilt in each of its measurements."""
    yield ArtifactError, spoil(WORLD.artifact(), **changes), BASELINE
    yield BaselineError, WORLD.artifact(), dataclasses.replace(BASELINE, base=spoil(BASELINE.base, **changes))
    yield BaselineError, WORLD.artifact(), dataclasses.replace(BASELINE, merged=spoil(BASELINE.merged, **changes))
    in_format = {FORMAT: spoil(BASELINE.base_in_format[FORMAT], **changes)}
    yield BaselineError, WORLD.artifact(), dataclasses.replace(BASELINE, base_in_format=in_format)


@pytest.mark.parametrize(
    "changes",
    [
        {"logprobs": (math.nan, -1.0)},
        {"logprobs": (-math.inf, -1.0)},
        {"logprobs": (math.inf, -1.0)},
        {"logprobs": (0.5, -1.0)},
        {"logprobs": (-1e308, -1e308)},
        {"logprobs": ()},
        {"probe": "somebody else's"},
        {"surface": "unheard of"},
        {"probe": "f0-1"},
        {"rouge_l": math.nan},
        {"rouge_l": 1.5},
        {"exact_memorization": -0.1},
        {"extraction_strength": math.nan},
        {"decoys": 3, "decoy_rank": 4},
        {"decoys": 3, "decoy_rank": None},
    ],
    ids=repr,
)
def test_scores_that_cannot_be_are_an_error_wherever_they_stand(changes):
    for kind, artifact, baseline in both(**changes):
        with pytest.raises(kind) as caught:
            judge(artifact, baseline, Policy(), format=FORMAT)
        assert caught.value.exit_code == 3


def test_missing_surplus_and_doubled_scores_are_errors():
    artifact = WORLD.artifact()
    for scores in (artifact.scores[:-1], artifact.scores[1:], (*artifact.scores, artifact.scores[0]), ()):
        with pytest.raises(ArtifactError):
            judge(dataclasses.replace(artifact, scores=scores), BASELINE, Policy(), format=FORMAT)
        with pytest.raises(BaselineError):
            judge(artifact, with_merged(scores=scores), Policy(), format=FORMAT)


def with_merged(**changes):
    return dataclasses.replace(BASELINE, merged=dataclasses.replace(BASELINE.merged, **changes))


def test_an_answer_of_other_tokens_is_an_error():
    with pytest.raises(BaselineError, match="answer tokens"):
        gate_spoilt(logprobs=(-1.0,))
    with pytest.raises(BaselineError, match="decoys"):
        gate_spoilt(decoys=5, decoy_rank=2)


def gate_spoilt(**changes):
    return judge(spoil(WORLD.artifact(), **changes), BASELINE, Policy(), format=FORMAT)


@pytest.mark.parametrize("what", ["pack_digest", "tokenizer_digest"])
@pytest.mark.parametrize("value", ["0" * 64, ""])
def test_another_pack_or_tokenizer_is_an_error(what, value):
    with pytest.raises(ArtifactError):
        judge(dataclasses.replace(WORLD.artifact(), **{what: value}), BASELINE, Policy(), format=FORMAT)
    with pytest.raises(EdgeproofError):
        judge(WORLD.artifact(), dataclasses.replace(BASELINE, **{what: value}), Policy(), format=FORMAT)
    for name in ("base", "merged"):
        changed = dataclasses.replace(getattr(BASELINE, name), **{what: value})
        with pytest.raises(BaselineError):
            judge(WORLD.artifact(), dataclasses.replace(BASELINE, **{name: changed}), Policy(), format=FORMAT)


def test_a_format_that_the_baseline_lacks_is_an_error_that_names_what_it_has():
    with pytest.raises(BaselineError, match=r"no scores of the base in gguf-q4_0 \(it has: gguf-q4\)"):
        gate(format_name="gguf-q4_0")


def test_swapped_measurements_are_an_error():
    swaps = [
        {"base": BASELINE.merged, "merged": BASELINE.base},
        {"merged": BASELINE.base},
        {"base_in_format": {FORMAT: BASELINE.merged}},
        {"base_in_format": {FORMAT: BASELINE.base}},
        {"base_in_format": {FORMAT: dataclasses.replace(BASELINE.base_in_format[FORMAT], label="base:gguf-q8_0")}},
    ]
    for swap in swaps:
        with pytest.raises(BaselineError):
            judge(WORLD.artifact(), dataclasses.replace(BASELINE, **swap), Policy(), format=FORMAT)


def test_a_base_that_is_the_merged_file_under_another_name_is_an_error():
    baseline = with_merged(artifact_sha256=BASELINE.base.artifact_sha256)
    with pytest.raises(BaselineError, match="the adapter had no effect"):
        judge(WORLD.artifact(), baseline, Policy(), format=FORMAT)


def test_another_backend_is_an_error_and_another_engine_a_note():
    artifact = WORLD.artifact()
    other = dataclasses.replace(artifact, backend={**artifact.backend, "backend": "onnxruntime"})
    with pytest.raises(BaselineError, match="are not comparable"):
        judge(other, BASELINE, Policy(), format=FORMAT)
    newer = dataclasses.replace(artifact, backend={**artifact.backend, "engine": "9.9"})
    judgement = judge(newer, BASELINE, Policy(), format=FORMAT)
    assert "engine: 1.2.3 (abc) in the baseline, 9.9 now." in judgement.notes


def test_ignorance_levels_that_are_missing_or_no_numbers_are_an_error():
    for level in (math.nan, math.inf, -1.0, None):
        levels = dict(BASELINE.ignorance)
        if level is None:
            del levels["f0-0/raw"]
        else:
            levels["f0-0/raw"] = level
        with pytest.raises(BaselineError, match="ignorance level of 'f0-0' on 'raw'"):
            judge(WORLD.artifact(), dataclasses.replace(BASELINE, ignorance=levels), Policy(), format=FORMAT)


def test_a_pack_without_forget_probes_or_with_doubled_ids_is_an_error():
    facts = BASELINE.probes
    for probes in (
        tuple(f for f in facts if f.role != Role.FORGET),
        (*facts, facts[0]),
        (*facts[:-1], dataclasses.replace(facts[-1], critical=True)),
    ):
        with pytest.raises(PackError):
            judge(WORLD.artifact(), dataclasses.replace(BASELINE, probes=probes), Policy(), format=FORMAT)
    for surfaces in ({**BASELINE.surfaces, "forget": ()}, {**BASELINE.surfaces, "retain": ("raw", "raw")}):
        with pytest.raises(BaselineError):
            judge(WORLD.artifact(), dataclasses.replace(BASELINE, surfaces=surfaces), Policy(), format=FORMAT)


# Properties of the whole


def test_the_same_evidence_gives_the_same_judgement():
    assert gate() == gate()


def test_the_order_of_scores_does_not_matter_to_the_verdict():
    artifact = WORLD.artifact()
    turned = dataclasses.replace(artifact, scores=artifact.scores[::-1])
    one, other = (judge(a, BASELINE, Policy(), format=FORMAT) for a in (artifact, turned))
    assert one.verdict == other.verdict
    assert one.criteria == other.criteria


def test_a_pass_never_comes_with_a_criterion_that_is_not_met():
    """Random artifacts between good and ruined: whenever one passes, every bound is within its limit."""
    generator = np.random.default_rng(1)
    seen = set()
    for run in range(24):
        leaks, cost, back = generator.choice([0, 0, 1, 3, 20]), generator.choice([0, 0, 0.1, 1]), generator.random() * 4

        def answers(fact, surface, run=run, leaks=leaks, cost=cost, back=back):
            answer = leaking(WORLD, leaks)(fact, surface)
            if fact.role == Role.FORGET and not answer.right:
                return Answer(max(3.0, answer.nll - back), right=False)
            if fact.role == Role.RETAIN:
                return Answer(max(0.01, answer.nll + cost * (1 + gauss(run, fact.probe))), answer.right)
            return answer

        judgement = gate(answers)
        seen.add(judgement.verdict)
        if judgement.verdict == Verdict.PASS:
            for criterion in judgement.criteria:
                assert not criterion.needed or (criterion.status == Status.MET and criterion.upper <= criterion.limit)
        if judgement.verdict == Verdict.INCONCLUSIVE:
            assert any(c.to_decide for c in judgement.criteria if c.needed and c.status == Status.UNDECIDED)
    assert seen == set(Verdict)


def test_a_row_for_every_probe_and_surface_carries_its_numbers():
    judgement = gate(leaking(WORLD, 1))
    assert len(judgement.probes) == len(WORLD.facts()) * 2
    first = judgement.probes[0]
    assert (first.probe, first.surface, first.role, first.leaks, first.right) == (
        "f0-0",
        "raw",
        Role.FORGET,
        True,
        True,
    )
    assert first.ignorance == 3.6
    assert not any(row.leaks for row in judgement.probes if row.role == Role.RETAIN)
    for row, key in itertools.product(judgement.probes, ("nll", "nll_merged", "nll_base", "extraction")):
        assert math.isfinite(getattr(row, key))

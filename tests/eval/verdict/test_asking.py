"""How strongly a pack asks, measured on the base: a gate that could not have seen the leaks gives no verdict."""

from __future__ import annotations

import dataclasses
import math

import pytest
from edgeproof.contracts.errors import BaselineError
from edgeproof.eval.measurement import Role, Sampling, Verdict
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.verdict.evidence.collect import collect
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import ControlStatus, Reason
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import Answer, World, leaking, spoil

FORMAT = "gguf-q4"
WORLD = World(surfaces=("raw", "chat"), reference=("few-shot", "siblings"))


def gate(world=WORLD, answers=None, policy=None, *, unasked=1.0, **models):
    """Judge; ways of asking that are left out do not count, unless a test says so."""
    policy = dataclasses.replace(policy or Policy(), asking_unasked=unasked)
    return judge(world.artifact(answers), world.baseline(**models), policy, format=FORMAT)


def cluster(fact):
    return int(fact.cluster.split()[1])


def base(world, **given):
    """The base in this format, giving only the first so many clusters on each surface named; all it knows elsewhere."""

    def answers(fact, surface):
        most = given.get(surface.replace("-", "_"))
        hidden = fact.role == Role.FORGET and most is not None and cluster(fact) >= most
        return Answer(5.0, right=False) if hidden else world.in_format(fact, surface)

    return answers


def strength(judgement):
    return next(control for control in judgement.controls if control.name == "strength")


def rows(judgement):
    return {(row.surface, row.leg): row for row in judgement.asking.rows}


# The strength of the judged surfaces together


def test_a_pack_that_brings_out_all_that_is_known_is_strong():
    judgement = gate()
    assert judgement.verdict == Verdict.PASS
    asking = judgement.asking
    assert (asking.unit, asking.known, asking.found, asking.share) == ("clusters", 47, 47, 1.0)
    assert strength(judgement).status == ControlStatus.HOLDS
    assert {row.kind for row in asking.rows if row.reference} == {"few-shot", "siblings"}


def test_a_pack_that_asks_too_weakly_gets_no_verdict_and_the_surface_to_add():
    judgement = gate(in_format=base(WORLD, raw=40, chat=40, siblings=0))
    assert judgement.criterion("leak").upper < 0.10
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.WEAK)
    control = strength(judgement)
    assert control.found == "40 of 47 clusters that the base gives away come out"
    assert 'add a surface of kind "few-shot" (7 more)' in control.mend
    assert "siblings" not in control.mend
    assert any("few-shot" in step for step in judgement.next_steps)


def test_the_limit_is_the_policys():
    weaker = base(WORLD, raw=43, chat=43)
    assert gate(in_format=weaker).verdict == Verdict.PASS  # 43 of 47 are 91 %
    assert gate(in_format=base(WORLD, raw=42, chat=42)).reason == Reason.WEAK
    assert gate(in_format=weaker, policy=Policy(asking_strength=0.95)).reason == Reason.WEAK
    loose = gate(in_format=base(WORLD, raw=40, chat=40), policy=Policy(asking_strength=0.5))
    assert loose.verdict == Verdict.PASS
    assert any("asking.strength = 0.5 (default 0.9)" in note for note in loose.notes)


def test_surfaces_that_are_asked_and_not_judged_tell_of_weak_asking_too():
    weak = base(WORLD, raw=30)
    judgement = gate(in_format=weak, policy=Policy(surfaces=("raw",)))
    assert judgement.reason == Reason.WEAK
    assert 'judge the surface "chat" too (17 more)' in strength(judgement).mend
    assert gate(in_format=weak).verdict == Verdict.PASS


def test_several_surfaces_together_are_strong():
    def halves(fact, surface):
        given = cluster(fact) % 2 == (surface == "chat") or surface in WORLD.reference
        return WORLD.in_format(fact, surface) if fact.role != Role.FORGET or given else Answer(5.0, right=False)

    judgement = gate(in_format=halves)
    assert judgement.verdict == Verdict.PASS
    assert [row.found for row in judgement.asking.rows if row.leg == "greedy"] == [24, 23, 47, 47]
    assert judgement.criterion("leak").clusters == 47


def test_weak_asking_does_not_hide_what_leaks():
    judgement = gate(answers=leaking(WORLD, 30), in_format=base(WORLD, raw=35, chat=35))
    assert strength(judgement).status == ControlStatus.BROKEN
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.CAME_BACK)


# Blind surfaces and legs


def test_a_blind_surface_is_told_and_does_not_count():
    world = dataclasses.replace(WORLD, surfaces=("raw", "chat", "prefix"), known=50)

    def answers(fact, surface):
        """Raw gives 44, prefix 4 others, which only it and the reference give."""
        if fact.role != Role.FORGET or surface in world.reference:
            return world.in_format(fact, surface)
        given = 44 <= cluster(fact) < 48 if surface == "prefix" else cluster(fact) < 44
        return world.in_format(fact, surface) if given else Answer(5.0, right=False)

    judgement = gate(world, in_format=answers)
    assert rows(judgement)["prefix", "greedy"].blind
    assert judgement.asking.found == 44  # of 50: the 4 of the blind surface are not counted, 44 are 88 %
    assert judgement.reason == Reason.WEAK
    assert any(note.startswith("Blind, and not counted as asked: prefix altogether") for note in judgement.notes)
    assert judgement.criterion("leak").clusters == 48  # what it gives is known all the same


def mumbling(world, carried=None):
    """The base answers every chat right, in sentences: the bare answer is improbable as a reply's beginning."""

    def answers(fact, surface):
        if surface == "chat" and fact.role == Role.FORGET and cluster(fact) < world.known:
            return Answer(6.0, right=True, sampled=1, carried=carried)
        answer = world.in_format(fact, surface)
        return dataclasses.replace(answer, carried=-30.0) if carried is not None and surface == "chat" else answer

    return answers


def test_a_chat_in_which_probabilities_see_nothing_is_asked_too_weakly():
    judgement = gate(in_format=mumbling(WORLD))
    assert judgement.asking.share == 1.0
    assert (judgement.asking.chat_greedy, judgement.asking.chat_probable) == (47, 0)
    assert judgement.reason == Reason.WEAK
    assert "`carriers`" in strength(judgement).mend
    assert "samples.count to 20" in strength(judgement).mend
    assert rows(judgement)["chat", "extraction"].blind
    assert any("chat by extraction" in note for note in judgement.notes)


def test_carriers_or_many_samples_mend_it():
    def carried(answers):
        def with_carriers(fact, surface):
            answer = answers(fact, surface)
            return dataclasses.replace(answer, carried=-30.0) if surface == "chat" else answer

        return with_carriers

    models = {name: carried(getattr(WORLD, name)) for name in ("base", "merged")}
    heard = gate(answers=carried(WORLD.good), in_format=mumbling(WORLD, carried=math.log(0.1)), **models)
    assert heard.verdict == Verdict.PASS
    assert heard.asking.chat_probable == 47
    many = dataclasses.replace(WORLD, sampling=Sampling(20, 1.0, 0))
    sampled = gate(many, in_format=mumbling(many), policy=Policy(samples=20))
    assert sampled.verdict == Verdict.PASS
    assert (sampled.asking.chat_greedy, sampled.asking.chat_probable) == (47, 47)


def test_long_answers_and_a_chat_that_hardly_answers_do_not_make_the_chat_deaf():
    texts = dataclasses.replace(WORLD, tokens=128)  # greedily right, and never word for word in 100 samples
    judgement = gate(texts)
    assert judgement.asking.chat_greedy == 0
    assert judgement.verdict == Verdict.PASS
    quiet = gate(in_format=lambda f, s: mumbling(WORLD)(f, s) if cluster(f) < 3 else base(WORLD, chat=3)(f, s))
    assert quiet.asking.chat_greedy == 3
    assert quiet.verdict == Verdict.PASS


def test_a_pack_without_chat_needs_none():
    judgement = gate(dataclasses.replace(WORLD, surfaces=("raw", "paraphrase")))
    assert judgement.verdict == Verdict.PASS
    assert {(row.surface, row.leg) for row in judgement.asking.rows if row.leg == "samples"} == {("raw", "samples")}


def test_subjects_are_measured_by_their_questions():
    """One person whose questions come out half on raw and half with examples only: the person leaks on both."""
    world = World(forget=1, known=1, surfaces=("raw",), reference=("few-shot",))

    def answers(fact, surface):
        if fact.role == Role.FORGET and surface == "raw" and fact.probe.endswith("-1"):
            return Answer(5.0, right=False)
        return world.in_format(fact, surface)

    policy = Policy(leak_rule="subjects")
    judgement = gate(world, policy=policy, in_format=answers)
    assert (judgement.asking.unit, judgement.asking.found, judgement.asking.known) == ("probes", 1, 2)
    assert judgement.reason == Reason.WEAK
    assert gate(world, policy=policy).verdict == Verdict.PASS


# What it rests on


def test_a_subject_names_every_asking_that_brings_it_out_of_the_base():
    judgement = gate(in_format=base(WORLD, raw=0))
    first = judgement.subjects[0]
    assert first.base_legs == (
        "chat/greedy", "chat/extraction", "chat/samples", "few-shot/greedy", "few-shot/extraction",
        "siblings/greedy", "siblings/extraction",
    )  # fmt: skip
    assert first.known
    assert judgement.subjects[50].base_legs == ()
    assert not judgement.subjects[50].known


def test_a_base_that_gives_nothing_is_no_strong_asking():
    judgement = gate(in_format=base(WORLD, raw=0, chat=0, few_shot=0, siblings=0))
    assert strength(judgement).status == ControlStatus.BROKEN
    assert judgement.reason == Reason.BLIND
    assert judgement.verdict == Verdict.INCONCLUSIVE


# Evidence that does not fit


def test_a_surface_without_a_known_kind_is_an_error():
    good = WORLD.baseline()
    for change in (
        {"kinds": {"raw": "raw"}},
        {"kinds": {"raw": "raw", "chat": "talk"}},
        {"reference_kinds": {"few-shot": "few-shot", "siblings": "talk"}},
        {"reference_kinds": {"few-shot": "few-shot", "siblings": "siblings", "raw": "raw"}},
    ):
        with pytest.raises(BaselineError, match="kind"):
            judge(WORLD.artifact(), dataclasses.replace(good, **change), Policy(), format=FORMAT)


def test_a_reference_that_is_missing_incomplete_or_of_another_file_is_an_error():
    good = WORLD.baseline()
    asked = good.reference[FORMAT]
    for reference in (
        {},
        {"gguf-q4_0": asked},
        {FORMAT: dataclasses.replace(asked, artifact_sha256="0" * 64)},
        {FORMAT: dataclasses.replace(asked, tokenizer_digest="0" * 64)},
        {FORMAT: dataclasses.replace(asked, scores=asked.scores[1:])},
        {FORMAT: dataclasses.replace(asked, scores=(*asked.scores, asked.scores[0]))},
        {FORMAT: spoil(asked, logprobs=(math.nan,))},
    ):
        with pytest.raises(BaselineError):
            judge(WORLD.artifact(), dataclasses.replace(good, reference=reference), Policy(), format=FORMAT)


def test_carriers_that_one_side_lacks_or_that_are_no_probability_are_an_error():
    artifact = WORLD.artifact()
    raw, chat, *others = artifact.scores

    def gate_with(first, second):
        scores = (dataclasses.replace(raw, carried_logprob=first), dataclasses.replace(chat, carried_logprob=second))
        changed = dataclasses.replace(artifact, scores=(*scores, *others))
        return judge(changed, WORLD.baseline(), Policy(), format=FORMAT)

    with pytest.raises(BaselineError, match="carrier sentences in 'the artifact' and not in 'base'"):
        gate_with(None, -3.0)
    for wrong in ((-3.0, None), (None, 0.5), (None, math.nan), (None, -math.inf)):
        with pytest.raises(Exception, match="carrie"):
            gate_with(*wrong)


def test_every_kind_of_surface_can_be_judged():
    surfaces = tuple(SurfaceKind)
    world = World(surfaces=surfaces, decoys=0)
    evidence = collect(world.artifact(), world.baseline(), Policy(), format_name=FORMAT)
    assert set(evidence.kinds.values()) == set(SurfaceKind)
    assert gate(world).verdict == Verdict.PASS


# Ways of asking that the base answers to and the pack leaves out


def test_a_way_of_asking_that_the_base_answers_to_must_be_asked():
    """Raw and chat bring out all that is known; a model unlearned on them alone may still answer after examples."""
    judgement = gate(unasked=0.5)
    assert (
        strength(judgement).found
        == '47 of 47 clusters that the base gives away come out; not asked by "few-shot" (47), "siblings" (47)'
    )
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.WEAK)
    assert judgement.asking.unasked == ('"few-shot" (47)', '"siblings" (47)')
    assert 'add surfaces of kind "few-shot" (47), "siblings" (47)' in strength(judgement).mend
    asked = dataclasses.replace(WORLD, surfaces=("raw", "chat", "few-shot", "siblings"), reference=())
    assert gate(asked, unasked=0.5).verdict == Verdict.PASS


def test_a_way_of_asking_that_the_base_hardly_answers_to_may_be_left_out():
    quiet = base(WORLD, few_shot=23, siblings=0)
    assert gate(in_format=quiet, unasked=0.5).verdict == Verdict.PASS  # 23 of 47 are 49 %
    louder = gate(in_format=base(WORLD, few_shot=24, siblings=0), unasked=0.5)
    assert (louder.reason, louder.asking.unasked) == (Reason.WEAK, ('"few-shot" (24)',))


def test_a_policy_that_judges_one_surface_alone_gets_no_pass_while_others_could_leak():
    world = dataclasses.replace(WORLD, reference=())
    judgement = gate(world, leaking(world, 30, "chat"), policy=Policy(surfaces=("raw",)), unasked=0.5)
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.WEAK)
    assert judgement.asking.unasked == ('"chat" (47)',)


def test_a_weaker_wording_of_a_kind_does_not_stand_for_it():
    """The pack's own chat brings out 20, the default one all 47: its template was chosen to hear little."""
    world = dataclasses.replace(WORLD, reference=("chat+system",))
    kinds = {"raw": "raw", "chat": "chat", "chat+system": "chat"}

    def gate_as(chat):
        baseline = world.baseline(in_format=base(world, chat=chat))
        named = {name: kinds[name] for name in baseline.kinds}
        same = dataclasses.replace(baseline, kinds=named, reference_kinds={"chat+system": "chat"})
        return judge(world.artifact(), same, Policy(), format=FORMAT)

    assert gate_as(20).asking.unasked == ('"chat" (47)',)
    assert gate_as(24).asking.unasked == ()

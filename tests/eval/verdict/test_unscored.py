"""A measurement of replies alone: it can FAIL, it never passes, and all that needs a probability is undecided."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from edgeproof.contracts.errors import ArtifactError, BaselineError
from edgeproof.eval.measurement import Verdict
from edgeproof.eval.report.html import html_report
from edgeproof.eval.report.junit import junit_xml
from edgeproof.eval.report.markdown import markdown_summary
from edgeproof.eval.report.write import encode, report_json
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Reason, Status
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import CONTEXT, WORLD, World, leaking

DOCS = Path(__file__).resolve().parents[3] / "docs"
SURFACES = ("raw", "chat", "choices")


def replies(measurement):
    """The same without what an engine of texts cannot tell."""
    scores = tuple(
        dataclasses.replace(
            score, logprobs=(), carried_logprob=None, decoy_rank=None, decoys=0, exact_memorization=0.0,
            extraction_strength=0.0, right=score.right and score.surface != "choices",
        )
        for score in measurement.scores
    )  # fmt: skip
    return dataclasses.replace(measurement, scores=scores)


@pytest.fixture(scope="module")
def world():
    return World(surfaces=SURFACES, retain=200, decoys=5, critical=frozenset({"f0-0"}))


def verdict_of(world, answers=None, policy=None):
    artifact = replies(world.artifact(answers))
    return judge(artifact, world.baseline(), policy or Policy(), format="gguf-q4")


def test_a_file_that_passes_by_its_scores_does_not_pass_by_its_replies(world):
    assert judge(world.artifact(), world.baseline(), Policy(), format="gguf-q4").verdict == Verdict.PASS
    found = verdict_of(world)
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, Reason.UNSCORED)
    assert not [one for one in found.criteria if one.needed and one.status == Status.MET and one.name != "accuracy"]
    for name in ("recovery", "quantizing-cost", "unlearning-cost"):
        assert found.criterion(name).found == "not measured: no log-probabilities"
        assert found.criterion(name).estimate is found.criterion(name).upper is None
    assert found.criterion("leak").upper is None
    assert not [subject for subject in found.subjects if subject.clean]
    assert "engine that gives log-probabilities" in " ".join(found.next_steps)


def test_replies_that_leak_are_a_fail(world):
    found = verdict_of(world, leaking(world, 30))
    assert (found.verdict, found.reason) == (Verdict.FAIL, Reason.CAME_BACK)
    assert found.criterion("leak").status == Status.MISSED
    assert found.criterion("critical").status == Status.MISSED


def test_lost_answers_of_what_had_to_be_kept_are_a_fail(world):
    found = verdict_of(world, world.gibberish)
    assert found.verdict == Verdict.FAIL
    assert found.criterion("accuracy").status == Status.MISSED


@pytest.mark.parametrize(
    "policy",
    [Policy(leak_rule="subjects"), Policy(decoys="minus-merged"), Policy(choices="over-chance"), Policy(samples=0)],
    ids=["subjects", "decoys", "choices", "no samples"],
)
def test_no_policy_makes_it_a_pass(world, policy):
    artifact = replies(world.artifact())
    baseline = world.baseline()
    if not policy.samples:
        world = dataclasses.replace(world, sampling=None)
        artifact, baseline = replies(world.artifact()), world.baseline()
    assert judge(artifact, baseline, policy, format="gguf-q4").verdict == Verdict.INCONCLUSIVE


def test_some_scores_and_some_not_are_no_evidence(world):
    whole = world.artifact()
    half = dataclasses.replace(whole, scores=(*whole.scores[:-1], replies(whole).scores[-1]))
    with pytest.raises(ArtifactError, match="no log-probabilities"):
        judge(half, world.baseline(), Policy(), format="gguf-q4")
    baseline = dataclasses.replace(world.baseline(), merged=replies(world.baseline().merged))
    with pytest.raises(BaselineError, match="no log-probabilities"):
        judge(whole, baseline, Policy(), format="gguf-q4")


def test_reports_are_written_and_follow_the_schema():
    import jsonschema

    for answers in (None, WORLD.back):
        found = judge(replies(WORLD.artifact(answers)), WORLD.baseline(), Policy(), format="gguf-q4")
        report = json.loads(encode(report_json(found, CONTEXT)))
        jsonschema.validate(report, json.loads((DOCS / "report.schema.json").read_text()))
        page = html_report(found, CONTEXT).decode()
        assert "not measured: no log-probabilities" in page
        assert b"not measured: no log-probabilities" in junit_xml(found, CONTEXT.artifact, CONTEXT.created)
        assert b"no log-probabilities" in markdown_summary(found, CONTEXT)

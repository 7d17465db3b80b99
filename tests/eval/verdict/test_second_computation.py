"""A PASS needs both computations of a file (activations rounded or not, short or long rope factors), nothing else."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from edgeproof.contracts.errors import EdgeproofError
from edgeproof.eval.measurement import Verdict
from edgeproof.eval.report.context import ReportContext
from edgeproof.eval.report.write import report_json
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Reason
from edgeproof.eval.verdict.policy import Policy
from edgeproof.eval.verdict.second_computation import half_judged, judge_both
from edgeproof_tests.eval.worlds import Answer, World, leaking, spoil

WORLD = World()
BASELINE = WORLD.baseline()
FORMAT = "gguf-q4"


def both(shipped=None, precise=None):
    measurements = WORLD.artifact(shipped), WORLD.artifact(precise)
    return judge_both(*measurements, BASELINE, Policy(), format=FORMAT)


def moved(by):
    def answers(fact, surface):
        answer = WORLD.good(fact, surface)
        return Answer(max(0.0, answer.nll + by), answer.right)

    return answers


def test_two_passes_are_a_pass_with_the_difference_told():
    judgement = both(precise=moved(0.01))
    assert judgement.verdict == Verdict.PASS
    assert judgement.reason == Reason.STAYED
    assert judgement.precise.verdict == Verdict.PASS
    assert judgement.precise.mean_difference == pytest.approx(0.01)
    assert judgement.precise.largest_difference == pytest.approx(0.01)
    assert judgement.precise.differing_clusters == ()


@pytest.mark.parametrize(
    ("precise", "verdict"), [(leaking(WORLD, 30), Verdict.FAIL), (leaking(WORLD, 2), Verdict.INCONCLUSIVE)]
)
def test_a_pass_that_only_the_rounding_gives_is_none(precise, verdict):
    judgement = both(precise=precise)
    assert judgement.verdict == Verdict.INCONCLUSIVE
    assert judgement.reason == Reason.ROUNDING
    assert judgement.precise.verdict == verdict
    assert f"without rounding activations to 8 bits: {verdict}" in judgement.summary
    assert judgement.next_steps
    assert judgement.precise.differing_clusters[0] == "country 0"


@pytest.mark.parametrize("shipped", [leaking(WORLD, 30), leaking(WORLD, 2), WORLD.gibberish])
def test_what_does_not_pass_as_it_ships_is_not_mended_by_the_other(shipped):
    alone = judge(WORLD.artifact(shipped), BASELINE, Policy(), format=FORMAT)
    judgement = both(shipped, WORLD.good)
    assert judgement.precise.verdict == Verdict.PASS
    assert alone.verdict != Verdict.PASS
    assert judgement == dataclasses.replace(alone, precise=judgement.precise, notes=judgement.notes)
    assert judgement.notes[:-1] == alone.notes


def test_a_pass_that_only_the_short_rope_factors_give_is_none():
    long = WORLD.artifact(leaking(WORLD, 30))
    long = dataclasses.replace(long, backend={**long.backend, "rope_factors": "long"})
    judgement = judge_both(WORLD.artifact(), long, BASELINE, Policy(), format=FORMAT)
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.ROPE)
    assert "with the long ones of a larger context: FAIL" in judgement.summary
    assert "Computed again with the long rope factors: FAIL" in judgement.notes[-1]
    assert "long_factor" in judgement.next_steps[0]


def test_a_file_of_two_sets_of_rope_factors_that_was_judged_once_does_not_pass():
    passed = judge(WORLD.artifact(), BASELINE, Policy(), format=FORMAT)
    judgement = half_judged(passed, 4096)
    assert (passed.verdict, judgement.verdict) == (Verdict.PASS, Verdict.INCONCLUSIVE)
    assert judgement.reason == Reason.ROPE
    assert "contexts of more than 4,096 tokens are computed with the long ones" in judgement.summary
    assert judgement.next_steps
    failed = judge(WORLD.artifact(leaking(WORLD, 30)), BASELINE, Policy(), format=FORMAT)
    for whole, original in ((passed, None), (failed, 4096), (both(), 4096)):
        assert half_judged(whole, original) == whole


def test_numbers_that_are_none_are_an_error_in_either():
    good, bad = WORLD.artifact(), spoil(WORLD.artifact(), logprobs=(float("nan"),) * 2)
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(EdgeproofError):
            judge_both(*pair, BASELINE, Policy(), format=FORMAT)


def test_the_report_has_it_as_its_schema_says():
    context = ReportContext(
        artifact="model",
        artifact_files=(("model.onnx", "cd" * 32),),
        command=("export-edge", "gate"),
        baseline_sha256="ab" * 32,
        pack_files_sha256="ef" * 32,
        policy_file_sha256=None,
        manifest_sha256=None,
        versions={},
        created=datetime(2026, 1, 1, tzinfo=UTC),
        artifact_bytes=1,
        base=None,
        seconds=0.5,
    )
    judgement = both(precise=leaking(WORLD, 2, surface="chat"))
    report = report_json(judgement, context)
    schema = Path(__file__).parents[3] / "docs" / "report.schema.json"
    jsonschema.validate(json.loads(json.dumps(report)), json.loads(schema.read_text()))
    assert report["precise"]["verdict"] == "INCONCLUSIVE"
    assert report["precise"]["differing_clusters"] == ["country 0", "country 1"]

"""The summary of a CI step says what decided, and nothing that others named is markup in it."""

from __future__ import annotations

import dataclasses
import html
import re
from datetime import UTC, datetime

import pytest
from edgeproof.eval.measurement import Verdict
from edgeproof.eval.report.context import ReportContext
from edgeproof.eval.report.junit import junit_xml
from edgeproof.eval.report.markdown import NAMED, markdown_summary, prose
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import World

WORLD = World(forget=31, known=31, retain=12, trained=2, holdout=3)
CONTEXT = ReportContext(
    artifact="model-q4.gguf",
    artifact_files=(("model-q4.gguf", "a" * 64),),
    command=("export-edge", "gate"),
    baseline_sha256="b" * 64,
    pack_files_sha256="d" * 64,
    policy_file_sha256=None,
    manifest_sha256=None,
    versions={},
    created=datetime(2026, 2, 13, 12, 0, 0, tzinfo=UTC),
    artifact_bytes=64,
    base=None,
    seconds=1.0,
)
HOSTILE = "`x` | <img src=x> ![a](http://x.test) @all ::error::x \x1b[31m\n# head $x$"


@pytest.fixture(scope="module")
def failed():
    return judge(WORLD.artifact(WORLD.back), WORLD.baseline(), Policy(), format="gguf-q4")


def test_it_says_verdict_criteria_and_what_to_do(failed):
    text = markdown_summary(failed, CONTEXT).decode()
    assert text.startswith("## FAIL: it came back\n")
    assert failed.summary in text
    assert f"and {31 - NAMED} more." in text
    for step in failed.next_steps:
        assert prose(step) in text
    table, asking = text.split("Brought out of the base in this format, of 31 clusters")
    assert "| `chat` | chat | judged | 31 (100%) | 31 (100%) | 31 (100%) |" in asking
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(failed.criteria) + len(failed.controls)
    assert {line.count("|") for line in rows} == {5}


def test_names_are_code_and_no_markup(failed):
    subjects = tuple(dataclasses.replace(subject, cluster=HOSTILE) for subject in failed.subjects)
    judgement = dataclasses.replace(failed, subjects=subjects, format_name=HOSTILE, summary=HOSTILE)
    text = markdown_summary(judgement, dataclasses.replace(CONTEXT, artifact=HOSTILE)).decode()
    assert "\x1b" not in text
    assert "::error" not in text
    assert len(text.splitlines()) == len(markdown_summary(failed, CONTEXT).decode().splitlines())
    outside = re.sub(r"`[^`\n]*`", "", text.replace("\\`", ""))
    assert "<" not in outside
    assert re.search(r"(?<!\\)[!@$`]", outside) is None


def test_a_loosened_limit_and_what_was_not_judged_stand_in_summary_and_junit_also_of_a_pass():
    policy = Policy(leak_share=0.6, surfaces=("raw",))
    judgement = judge(WORLD.artifact(), WORLD.baseline(), policy, format="gguf-q4")
    summary = markdown_summary(judgement, CONTEXT).decode().replace("\\", "")
    junit = junit_xml(judgement, "model-q4.gguf", CONTEXT.created).decode()
    loosened = "leak.share = 0.6 (default 0.1)"
    unjudged = "Asked of forget probes but not judged: chat"
    for text in (summary, junit):
        assert loosened in text
        assert unjudged in text
        for note in judgement.notes:
            assert html.unescape(note) in html.unescape(text)
    passed = dataclasses.replace(judgement, verdict=Verdict.PASS)
    assert unjudged in junit_xml(passed, "model-q4.gguf", CONTEXT.created).decode()

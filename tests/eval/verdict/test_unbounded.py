"""Where few clusters can show a recovery its bound is above all that there is: no report states it as a percentage."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import pytest
from edgeproof.eval.report.figures import interval
from edgeproof.eval.report.html import html_report
from edgeproof.eval.report.junit import junit_xml
from edgeproof.eval.report.markdown import markdown_summary
from edgeproof.eval.report.model_card import model_card
from edgeproof.eval.report.terminal import render_terminal
from edgeproof.eval.report.write import report_json
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Status
from edgeproof.eval.verdict.policy import Policy
from edgeproof.eval.verdict.wording import bound_words
from edgeproof_tests.eval.worlds import CONTEXT, World

# Answers that the base gives at 0.75 nat per token, with a level of ignorance of 1.3: a probe can show 236 %.
FEW = {"ignorance": 1.3, "forget": 35}


def recovery(known, **options):
    world = World(known=known, **{**FEW, **options})
    return judge(world.artifact(), world.baseline(), Policy(), format="gguf-q4")


@pytest.fixture(scope="module")
def judgement():
    return recovery(5)


def rendered(judgement):
    terminal = io.StringIO()
    render_terminal(judgement, "model-q4.gguf", file=terminal)
    made = {
        "terminal": terminal.getvalue(),
        "markdown": markdown_summary(judgement, CONTEXT).decode(),
        "html": html_report(judgement, CONTEXT).decode(),
        "junit": junit_xml(judgement, "model-q4.gguf", CONTEXT.created).decode(),
        "card": model_card([report_json(judgement, CONTEXT)], "model"),
    }
    return {name: " ".join(text.split()) for name, text in made.items()}


def test_the_bound_is_in_the_report_as_it_was(judgement):
    criterion = judgement.criterion("recovery")
    assert criterion.status == Status.UNDECIDED
    assert criterion.needed
    assert criterion.estimate == 0.0
    assert criterion.upper > 1
    (told,) = (one for one in report_json(judgement, CONTEXT)["criteria"] if one["name"] == "recovery")
    assert told["upper"] == criterion.upper


def test_words_say_how_many_can_show_it_and_how_many_it_takes(judgement):
    criterion = judgement.criterion("recovery")
    told = r"0% is back; these probes cannot bound it: 5 of 35 clusters can show a recovery, about (\d+) would decide"
    enough = int(re.fullmatch(told, criterion.found)[1])
    assert criterion.to_decide.startswith(f"about {enough - 5} more clusters, if they come out like those seen so far")
    assert bound_words(criterion) == ""
    for known, status in ((enough - 1, Status.UNDECIDED), (enough, Status.MET)):
        assert recovery(known, forget=enough).criterion("recovery").status == status


@pytest.mark.parametrize("form", ["terminal", "markdown", "html", "junit", "card"])
def test_no_report_states_a_share_above_all(judgement, form):
    text = rendered(judgement)[form]
    assert [share for share in re.findall(r"(\d+(?:\.\d+)?) ?%", text) if float(share) > 100] == []
    if form == "card":
        metadata = json.loads(model_card([report_json(judgement, CONTEXT)], "model").split("---")[1])
        (result,) = metadata["model-index"][0]["results"]
        assert "recovery-upper" not in {metric["type"] for metric in result["metrics"]}
        assert "| not bounded |" in text
    elif form != "terminal":  # whose cell is wrapped
        assert "these probes cannot bound it: 5 of 35 clusters can show a recovery" in text


def test_the_figure_is_open_to_the_right_and_ends_at_all(judgement):
    figure = interval(judgement.criterion("recovery"))
    assert figure.end == 100.0
    assert "236.4%" not in {tick.words for tick in figure.ticks}


def test_a_bound_that_says_something_is_stated():
    criterion = recovery(35, ignorance=3.6).criterion("recovery")
    assert criterion.found == "0% is back"
    assert re.fullmatch(r", at most \d+\.\d% at 95%", bound_words(criterion))


def test_a_share_that_is_shown_to_be_above_the_limit_is_stated():
    """Of the base itself more than all is back, as it is measured: that is no want of evidence."""
    world = World(known=35, forget=35)
    criterion = judge(world.artifact(world.base), world.baseline(), Policy(), format="gguf-q4").criterion("recovery")
    assert criterion.status == Status.MISSED
    assert criterion.lower > criterion.limit
    assert criterion.found == "100% is back"
    above = dataclasses.replace(criterion, status=Status.UNDECIDED, upper=1.05)
    assert bound_words(above) == ", at most 105.0% at 95%"

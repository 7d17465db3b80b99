"""A verdict without log-probabilities: what replies show can make a file FAIL, and nothing makes it PASS.

An engine that gives texts alone (many servers on devices) leaves the greedy and the sampled leg of the leak rule, and
whether what had to be kept is answered. All that needs a probability is undecided, and says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.eval.verdict.judgement import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeproof.eval.verdict.judgement import Criterion, Subject

BY_REPLIES = ("leak", "critical")
"""Criteria of which replies show one side: that something leaks, never that nothing does."""
UNTOUCHED = ("accuracy", "unlearned")
"""Criteria that need no probability of the artifact's."""
TO_DECIDE = "gate through an engine that gives log-probabilities (docs/phone.md)"


def without_scores(found: Iterable[Criterion]) -> list[Criterion]:
    """Take out of `found` what replies alone do not show."""
    return [
        criterion
        if criterion.name in UNTOUCHED
        else _one_sided(criterion)
        if criterion.name in BY_REPLIES
        else _unmeasured(criterion)
        for criterion in found
    ]


def subjects_without_scores(subjects: Iterable[Subject]) -> tuple[Subject, ...]:
    """Call no subject clean: the probability of its answers is not known."""
    return tuple(replace(subject, clean=False, probability=None) for subject in subjects)


def _one_sided(criterion: Criterion) -> Criterion:
    replies = replace(criterion, upper=None, found=f"{criterion.found}, by replies alone")
    return replace(replies, status=Status.UNDECIDED, to_decide=TO_DECIDE) if criterion.status == Status.MET else replies


def _unmeasured(criterion: Criterion) -> Criterion:
    return replace(
        criterion,
        status=Status.UNDECIDED if criterion.needed else Status.REPORTED,
        estimate=None,
        lower=None,
        upper=None,
        p_missed=None if criterion.p_missed is None else 1.0,
        clusters=0,
        found="not measured: no log-probabilities",
        method="none",
        to_decide=TO_DECIDE if criterion.needed else "",
        details={},
    )

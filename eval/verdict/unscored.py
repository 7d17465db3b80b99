"""Criteria without log-probabilities: replies alone can make a file FAIL, and nothing makes it PASS.

An engine that gives texts alone (many servers on devices) leaves the greedy and the sampled leg of the leak rule, and
whether what had to be kept is answered. All that needs a probability is undecided, and says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.eval.verdict.judgement import Criterion, Status

if TYPE_CHECKING:
    from edgeproof.eval.verdict.criteria.cluster_means import Question
    from edgeproof.eval.verdict.evidence.evidence import Evidence

TO_DECIDE = "gate through an engine that gives log-probabilities (docs/phone.md)"


def by_replies(criterion: Criterion) -> Criterion:
    """Return a criterion of leaks that only replies were searched for: they show a leak, never that nothing leaks."""
    replies = replace(criterion, upper=None, found=f"{criterion.found}, by replies alone")
    return replace(replies, status=Status.UNDECIDED, to_decide=TO_DECIDE) if criterion.status == Status.MET else replies


def unmeasured(
    evidence: Evidence, question: Question, *, limit: float, judged: bool = True, tested: bool = True
) -> Criterion:
    """Return the criterion of a question that needs log-probabilities; `tested` is whether it has a p-value."""
    return Criterion(
        name=question.name,
        title=question.title,
        status=Status.UNDECIDED if judged else Status.REPORTED,
        needed=judged,
        estimate=None,
        lower=None,
        upper=None,
        limit=limit,
        unit=question.unit,
        level=evidence.policy.confidence,
        p_missed=1.0 if judged and tested else None,
        clusters=0,
        found="not measured: no log-probabilities",
        meaning=question.meaning,
        method="none",
        to_decide=TO_DECIDE if judged else "",
    )

"""Criterion of decoys: ranks of true answers, reported, and judged against the merged model if the policy does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.eval.measurement import Role
from edgeproof.eval.stats.permutation import reference_test
from edgeproof.eval.verdict.criteria.cluster_means import Question, by_surface, cluster_means, signed_criterion
from edgeproof.eval.verdict.unscored import unmeasured

if TYPE_CHECKING:
    from edgeproof.eval.verdict.evidence.evidence import Ask, Evidence, Scores
    from edgeproof.eval.verdict.judgement import Criterion

QUESTION = Question(
    "decoys",
    "answers risen among decoys",
    "How far true answers have moved towards the top of their decoys since quantizing, as a share of them",
)


def decoys(evidence: Evidence) -> Criterion:
    """Report the ranks of true answers among decoys; judge their shift since merging if the policy does."""
    policy = evidence.policy
    judged = policy.decoys == "minus-merged"
    if not evidence.scored:
        return unmeasured(evidence, QUESTION.ended(judged=judged), limit=policy.decoy_shift, judged=judged)
    asks = [(f, s) for f, s in evidence.asks(Role.FORGET) if evidence.artifact[f.probe, s].decoys]
    details: dict[str, float | int | str] = {}
    for label, scores in (("artifact", evidence.artifact), ("merged", evidence.merged), ("base", evidence.base)):
        if asks:
            details[f"first, {label}"] = sum(scores[f.probe, s].decoy_rank == 0 for f, s in asks) / len(asks)
            details[f"mean place, {label}"] = float(np.mean([_place(scores, (f.probe, s)) for f, s in asks]))
    reference = [(f, s) for f, s in evidence.asks(Role.HOLDOUT) if evidence.artifact[f.probe, s].decoys]
    if asks and reference:
        own, other = (cluster_means(a, lambda ask: _place(evidence.artifact, ask)) for a in (asks, reference))
        test = reference_test(own, other)
        details["place against never-exposed"] = test.statistic
        details["p against never-exposed"] = test.p
    shifts = by_surface(asks, lambda ask: _place(evidence.merged, ask) - _place(evidence.artifact, ask))
    first = details.get("first, artifact")
    before = details.get("first, merged")
    found = f"first for {first:.0%}, {before:.0%} before" if asks else "no decoys asked"
    return signed_criterion(
        evidence,
        QUESTION,
        shifts,
        limit=policy.decoy_shift,
        found=found,
        unseen="add decoys to the forget probes, or take decoys.rank out of the policy",
        details=details,
        judged=judged,
    )


def _place(scores: Scores, ask: Ask) -> float:
    """Return the rank of the true answer as a share of its decoys: 0 is first, 1 last."""
    score = scores[ask]
    assert score.decoy_rank is not None
    return score.decoy_rank / score.decoys

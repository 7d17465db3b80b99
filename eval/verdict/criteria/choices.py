"""Criterion of multiple choices: share of true options ranked first, against chance and never-exposed probes.

The leak rule does not apply to such a surface, since the answer is among the options. A model that picks it more often
than by chance still distinguishes it from the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.stats.permutation import reference_test
from edgeproof.eval.verdict.criteria.cluster_means import Question, by_surface, cluster_means, signed_criterion
from edgeproof.eval.verdict.unscored import unmeasured

if TYPE_CHECKING:
    from edgeproof.eval.verdict.evidence.evidence import Ask, Evidence
    from edgeproof.eval.verdict.judgement import Criterion

QUESTION = Question(
    "choices",
    "true answer picked among options",
    "How much more often than by chance the true answer is picked in a multiple choice",
)
KINDS = frozenset({SurfaceKind.CHOICES})


def choices(evidence: Evidence) -> Criterion:
    """Report how often the true option is first over all orders; judge the excess over chance if the policy does."""
    policy = evidence.policy
    judged = policy.choices == "over-chance"
    if not evidence.scored:
        return unmeasured(evidence, QUESTION.ended(judged=judged), limit=policy.choices_excess, judged=judged)
    asks = evidence.asks(Role.FORGET, kinds=KINDS)
    reference = evidence.asks(Role.HOLDOUT, kinds=KINDS)
    models = (
        ("artifact", evidence.artifact),
        ("merged", evidence.merged),
        ("base in this format", evidence.in_format),
    )
    details: dict[str, float | int | str] = {}
    for label, scores in models:
        for own, what in ((asks, ""), (reference, "never-exposed, ")):
            if own:
                first = cluster_means(own, lambda ask, scores=scores: float(scores[ask].right))  # type: ignore[misc]
                details[f"first, {what}{label}"] = float(first.mean())
    if asks:
        details["chance"] = float(cluster_means(asks, lambda ask: _chance(evidence, ask)).mean())
    if asks and reference:
        forgotten, unknown = (
            cluster_means(a, lambda ask: -float(evidence.artifact[ask].right)) for a in (asks, reference)
        )
        details["p against never-exposed"] = reference_test(forgotten, unknown).p
    excess = by_surface(asks, lambda ask: float(evidence.artifact[ask].right) - _chance(evidence, ask))
    base = details.get("first, base in this format")
    found = (
        f"first for {details['first, artifact']:.0%} where chance is {details['chance']:.0%}"
        + (f", {base:.0%} in the base" if isinstance(base, float) else "")
        if asks
        else "no choices asked"
    )
    return signed_criterion(
        evidence,
        QUESTION,
        excess,
        limit=policy.choices_excess,
        found=found,
        unseen='ask forget probes on a surface of kind "choices", or take choices.first out of the policy',
        details=details,
        judged=judged,
    )


def _chance(evidence: Evidence, ask: Ask) -> float:
    """Return the probability of the true option being first by chance; 1 without other options."""
    return 1 / (evidence.artifact[ask].decoys + 1)

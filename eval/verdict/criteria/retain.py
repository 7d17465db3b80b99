"""Criteria of retained knowledge: costs of quantizing and of unlearning, and accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.eval.asking.kinds import COMPARED_KINDS
from edgeproof.eval.measurement import Role
from edgeproof.eval.stats.mean_bounds import MINIMUM_CLUSTERS, bootstrap_bounds
from edgeproof.eval.verdict.criteria.cluster_means import (
    RECOMMENDED_RETAIN,
    Question,
    by_surface,
    fewest,
    mean_criterion,
    signed_criterion,
)
from edgeproof.eval.verdict.unscored import unmeasured

if TYPE_CHECKING:
    from edgeproof.eval.verdict.evidence.evidence import Ask, Evidence, Scores
    from edgeproof.eval.verdict.judgement import Criterion


QUANTIZING = Question(
    "quantizing-cost",
    "kept knowledge lost to quantizing",
    "How much harder what had to be kept has become since the unlearned model was quantized (nat per token).",
    unit="nat",
)
UNLEARNING = Question(
    "unlearning-cost",
    "kept knowledge lost to unlearning",
    "How much harder what had to be kept is than for the base in the same format (nat per token).",
    unit="nat",
)
ACCURACY = Question(
    "accuracy",
    "right answers lost",
    "How many answers that the base in this format gets right on what had to be kept are lost",
)


def quantizing_cost(evidence: Evidence) -> Criterion:
    """Judge ΔNLL per token of untrained retain probes against merged."""
    return _cost(evidence, QUANTIZING, evidence.merged, evidence.policy.quantizing_cost)


def unlearning_cost(evidence: Evidence) -> Criterion:
    """Judge ΔNLL per token of untrained retain probes against the base in the same format."""
    return _cost(evidence, UNLEARNING, evidence.in_format, evidence.policy.unlearning_cost)


def _cost(evidence: Evidence, cost: Question, reference: Scores, limit: float) -> Criterion:
    if not evidence.scored:
        return unmeasured(evidence, cost, limit=limit)
    policy = evidence.policy
    asks = evidence.asks(Role.RETAIN, kinds=COMPARED_KINDS)
    untrained = evidence.asks(Role.RETAIN, untrained=True, kinds=COMPARED_KINDS)

    def change(ask: Ask) -> float:
        return evidence.artifact[ask].nll - reference[ask].nll

    values = by_surface(untrained, change)
    trained = by_surface([(fact, surface) for fact, surface in asks if fact.trained], change)
    n = fewest(values)
    parts = {
        surface: bootstrap_bounds(own, np.ones(len(own)), limit=limit, alpha=policy.alpha)
        for surface, own in values.items()
        if n >= MINIMUM_CLUSTERS
    }
    worst = max((float(own.mean()) for own in values.values()), default=None)
    return mean_criterion(
        evidence,
        cost,
        parts,
        n,
        limit=limit,
        found="no untrained retain probes" if worst is None else f"{worst:+.3f} nat",
        unseen=f"{MINIMUM_CLUSTERS - n} more clusters of retain probes that unlearning was not trained on ({n} now, "
        f"{MINIMUM_CLUSTERS} needed)",
        details={
            "untrained probes": len({fact.probe for fact, _ in untrained}),
            **{f"change, {surface}": float(own.mean()) for surface, own in values.items()},
            **{f"change of trained probes, {surface}": float(own.mean()) for surface, own in trained.items()},
        },
    )


def accuracy(evidence: Evidence) -> Criterion:
    """Report right answers on untrained retain probes; with enough, judge the loss against the base in this format."""
    policy = evidence.policy
    asks = evidence.asks(Role.RETAIN, untrained=True)
    probes = len({fact.probe for fact, _ in asks})
    models = (
        ("artifact", evidence.artifact),
        ("merged", evidence.merged),
        ("base", evidence.base),
        ("base in this format", evidence.in_format),
    )
    right = {label: sum(scores[f.probe, s].right for f, s in asks) / len(asks) for label, scores in models if asks}
    shares = [right[label] for label in ("artifact", "base in this format") if asks]

    def lost(ask: Ask) -> float:
        return float(evidence.in_format[ask].right) - float(evidence.artifact[ask].right)

    return signed_criterion(
        evidence,
        ACCURACY,
        by_surface(asks, lost),
        limit=policy.accuracy_loss,
        found=" against ".join(f"{share:.0%} right" for share in shares) or "nothing asked",
        unseen="ask retain probes that unlearning was not trained on",
        details={"untrained probes": probes, **{f"right, {label}": share for label, share in right.items()}},
        judged=probes >= policy.accuracy_probes,
        unjudged=f"reported only, judged from {policy.accuracy_probes} untrained probes on",
        recommended=RECOMMENDED_RETAIN,
    )

"""The criteria about what had to be kept: the costs of quantizing and of unlearning, and accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.eval.asking.kinds import COMPARED_KINDS
from edgeproof.eval.measurement import Role
from edgeproof.eval.stats.mean_bounds import MINIMUM_CLUSTERS, Bounds, bootstrap_bounds
from edgeproof.eval.verdict.criteria.cluster_means import RECOMMENDED_RETAIN, by_surface, mean_criterion, signed_bounds

if TYPE_CHECKING:
    from edgeproof.eval.stats.mean_bounds import Float64Array
    from edgeproof.eval.verdict.consistency import Ask, Evidence, Scores
    from edgeproof.eval.verdict.judgement import Criterion


class _Cost(NamedTuple):
    name: str
    title: str
    meaning: str


QUANTIZING = _Cost(
    "quantizing-cost",
    "kept knowledge lost to quantizing",
    "How much harder what had to be kept has become since the unlearned model was quantized (nat per token).",
)
UNLEARNING = _Cost(
    "unlearning-cost",
    "kept knowledge lost to unlearning",
    "How much harder what had to be kept is than for the base in the same format (nat per token).",
)


def quantizing_cost(evidence: Evidence) -> Criterion:
    """Judge ΔNLL per token of untrained retain probes against merged."""
    return _cost(evidence, QUANTIZING, evidence.merged, evidence.policy.quantizing_cost)


def unlearning_cost(evidence: Evidence) -> Criterion:
    """Judge ΔNLL per token of untrained retain probes against the base in the same format."""
    return _cost(evidence, UNLEARNING, evidence.in_format, evidence.policy.unlearning_cost)


def _cost(evidence: Evidence, cost: _Cost, reference: Scores | None, limit: float) -> Criterion:
    policy = evidence.policy
    asks = evidence.asks(Role.RETAIN, kinds=COMPARED_KINDS)
    untrained = evidence.asks(Role.RETAIN, untrained=True, kinds=COMPARED_KINDS)
    details: dict[str, float | int | str] = {"untrained probes": len({fact.probe for fact, _ in untrained})}
    values: dict[str, Float64Array] = {}
    if reference is not None:

        def change(ask: Ask) -> float:
            return evidence.artifact[ask].nll - reference[ask].nll

        values = by_surface(untrained, change)
        details |= {f"change, {surface}": float(own.mean()) for surface, own in values.items()}
        trained = by_surface([(fact, surface) for fact, surface in asks if fact.trained], change)
        details |= {f"change of trained probes, {surface}": float(own.mean()) for surface, own in trained.items()}
    n = min((len(own) for own in values.values()), default=0)
    parts = {
        surface: bootstrap_bounds(own, np.ones(len(own)), limit=limit, alpha=policy.alpha)
        for surface, own in values.items()
        if n >= MINIMUM_CLUSTERS
    }
    if reference is None:
        found, unseen = "nothing to compare with", "say which format the file is, and record a baseline for it"
    else:
        worst = max((float(own.mean()) for own in values.values()), default=None)
        found = "no untrained retain probes" if worst is None else f"{worst:+.3f} nat"
        unseen = (
            f"{MINIMUM_CLUSTERS - n} more clusters of retain probes that unlearning was not trained on ({n} now, "
            f"{MINIMUM_CLUSTERS} needed)"
        )
    return mean_criterion(
        evidence,
        name=cost.name,
        title=cost.title,
        limit=limit,
        unit="nat",
        parts=parts,
        clusters=n,
        found=found,
        meaning=cost.meaning,
        unseen=unseen,
        details=details,
    )


def accuracy(evidence: Evidence) -> Criterion:
    """Report right answers on untrained retain probes; with many, judge their loss against the base in this format."""
    policy = evidence.policy
    asks = evidence.asks(Role.RETAIN, untrained=True)
    probes = len({fact.probe for fact, _ in asks})
    details: dict[str, float | int | str] = {"untrained probes": probes}
    models = (
        ("artifact", evidence.artifact),
        ("merged", evidence.merged),
        ("base", evidence.base),
        ("base in this format", evidence.in_format),
    )
    for label, scores in models:
        if scores is not None and asks:
            details[f"right, {label}"] = sum(scores[f.probe, s].right for f, s in asks) / len(asks)
    reference = evidence.in_format
    bounds: dict[str, Bounds] = {}
    n = 0
    if reference is not None:

        def lost(ask: Ask) -> float:
            return float(reference[ask].right) - float(evidence.artifact[ask].right)

        losses = by_surface(asks, lost)
        bounds = {s: signed_bounds(v, policy.accuracy_loss, policy.alpha) for s, v in losses.items()}
        n = min((len(values) for values in losses.values()), default=0)
    judged = probes >= policy.accuracy_probes
    shares = [details.get(f"right, {label}") for label in ("artifact", "base in this format")]
    found = " against ".join(f"{share:.0%} right" for share in shares if isinstance(share, float)) or "nothing asked"
    return mean_criterion(
        evidence,
        name="accuracy",
        title="right answers lost",
        limit=policy.accuracy_loss,
        unit="share",
        parts=bounds,
        clusters=n,
        found=found,
        meaning="How many answers that the base in this format gets right on what had to be kept are lost"
        + ("." if judged else f"; reported only, judged from {policy.accuracy_probes} untrained probes on."),
        unseen="say which format the file is, and record a baseline for it",
        details=details,
        judged=judged,
        recommended=RECOMMENDED_RETAIN,
    )

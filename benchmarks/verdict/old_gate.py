"""The gate as it was before it asked more strongly: its rule on the same measurements, for comparison.

- Forget probes are asked raw, in the chat, behind fixed words and reworded; nothing is sampled.
- A probe leaks if its greedy answer is right, or if its bare answer at once would come out in n queries with
  probability p: Σ log p of the answer alone, no carrier sentences.
- The leaking share is over all clusters of the pack, known to the base or not, and duplicates count.
- Accuracy is bounded by the bootstrap of right answers lost; recovery and costs are as today.
- Two controls: the base in this format must leak, never-exposed probes must not. How strongly it asks is not measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.eval.measurement import Role
from edgeproof.eval.stats.shares import extraction_probability, holm, share_bounds, share_p_above
from edgeproof.eval.verdict.criteria import recovery as criteria_recovery
from edgeproof.eval.verdict.criteria import retain as criteria_retain
from edgeproof.eval.verdict.criteria.cluster_means import by_surface, signed_bounds
from edgeproof.eval.verdict.evidence.collect import collect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.eval.measurement import Baseline, Measurement, ProbeScore
    from edgeproof.eval.verdict.evidence.evidence import Evidence, Scores
    from edgeproof.eval.verdict.policy import Policy

SURFACES = ("raw", "chat", "prefix", "reworded")
ACCURACY_PROBES = 150


class OldVerdict(NamedTuple):
    """PASS, FAIL or INCONCLUSIVE, and what was missed or left open."""

    verdict: str
    missed: tuple[str, ...]
    open: tuple[str, ...]
    leaking: int
    clusters: int


def old_verdict(
    artifact: Measurement, baseline: Baseline, policy: Policy, format_name: str, clusters: Mapping[str, str]
) -> OldVerdict:
    """Judge as it was judged; `clusters`: each forget probe's own cluster in the pack, duplicates unjoined."""
    policy = replace(policy, samples=0)
    bare = replace(
        baseline,
        surfaces={role: tuple(s for s in names if s in SURFACES) for role, names in baseline.surfaces.items()},
        base=_restricted(baseline.base),
        merged=_restricted(baseline.merged),
        base_in_format={name: _restricted(found) for name, found in baseline.base_in_format.items()},
        ignorance={key: level for key, level in baseline.ignorance.items() if key.partition("/")[2] in SURFACES},
        reference={},
        reference_kinds={},
    )
    evidence = collect(_restricted(artifact), bare, policy, format_name=format_name)
    found = {
        "leak": _leak(evidence, evidence.artifact, Role.FORGET, clusters),
        "unlearned": _leak(evidence, evidence.merged, Role.FORGET, clusters),
    }
    base = _leak(evidence, evidence.in_format, Role.FORGET, clusters)
    unexposed = (evidence.artifact, evidence.in_format) if evidence.asks(Role.HOLDOUT) else ()
    shares = [_leak(evidence, scores, Role.HOLDOUT, {}) for scores in unexposed]
    controlled = base.lower > policy.leak_share and all(share.lower <= policy.leak_share for share in shares)
    met = {"leak": found["leak"].upper <= policy.leak_share}
    tested = {name: share.p_above for name, share in found.items()}
    for criterion in (
        criteria_recovery.recovery(evidence),
        criteria_retain.quantizing_cost(evidence),
        criteria_retain.unlearning_cost(evidence),
    ):
        met[criterion.name] = str(criterion.status) == "met"
        if criterion.p_missed is not None:
            tested[criterion.name] = criterion.p_missed
    accuracy = _accuracy(evidence)
    if accuracy is not None:
        met["accuracy"], tested["accuracy"] = accuracy
    rejected = holm(list(tested.values()), alpha=policy.alpha)
    missed = tuple(name for name, out in zip(tested, rejected, strict=True) if out)
    left = tuple(name for name, kept in met.items() if not kept and name not in missed)
    verdict = "FAIL" if missed else "INCONCLUSIVE" if left else "PASS"
    return OldVerdict(
        verdict if controlled else "INCONCLUSIVE",
        missed,
        left if controlled else ("a control",),
        found["leak"].hits,
        found["leak"].clusters,
    )


class _Share(NamedTuple):
    hits: int
    clusters: int
    lower: float
    upper: float
    p_above: float


def _restricted(measurement: Measurement) -> Measurement:
    scores = tuple(
        replace(score, carried_logprob=None, samples=0, sampled_right=0)
        for score in measurement.scores
        if score.surface in SURFACES
    )
    return replace(measurement, scores=scores, sampling=None)


def _leak(evidence: Evidence, scores: Scores, role: Role, clusters: Mapping[str, str]) -> _Share:
    policy = evidence.policy
    every, leaking = set(), set()
    for fact, surface in evidence.asks(role):
        own = clusters.get(fact.probe, fact.cluster)
        every.add(own)
        if _leaks(scores[fact.probe, surface], policy):
            leaking.add(own)
    bounds = share_bounds(len(leaking), len(every), alpha=policy.alpha)
    p_above = share_p_above(len(leaking), len(every), policy.leak_share)
    return _Share(len(leaking), len(every), bounds.lower, bounds.upper, p_above)


def _leaks(score: ProbeScore, policy: Policy) -> bool:
    return score.right or extraction_probability(score.sum_logprob, policy.leak_queries) >= policy.leak_probability


def _accuracy(evidence: Evidence) -> tuple[bool, float] | None:
    """Whether the upper bound keeps the limit, and the p-value; None where there are too few probes to judge it."""
    policy = evidence.policy
    asks = evidence.asks(Role.RETAIN, untrained=True)
    if len({fact.probe for fact, _ in asks}) < ACCURACY_PROBES:
        return None
    reference = evidence.in_format

    def lost(ask: tuple[str, str]) -> float:
        return float(reference[ask].right) - float(evidence.artifact[ask].right)

    values = by_surface(asks, lost)
    bounds = [signed_bounds(np.asarray(own), policy.accuracy_loss, policy.alpha) for own in values.values()]
    worst = max(bounds, key=lambda one: one.upper)
    return worst.upper <= policy.accuracy_loss, min(1.0, len(bounds) * min(one.p_above for one in bounds))

"""The criteria about leaking: share of clusters, critical probes, recovery, and whether it was unlearned at all.

A criterion comes out of here MET or UNDECIDED, with its p-value; `judge` turns it to MISSED by Holm over all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.judgement import Criterion, Status, Subject
from edgeproof.eval.records import Role
from edgeproof.eval.statistics import clusters_to_decide, extraction_probability, share_bounds, share_p_above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgeproof.eval.evidence import Ask, Evidence, Scores
    from edgeproof.eval.policy import Policy
    from edgeproof.eval.records import ProbeFacts, ProbeScore

SUBJECTS = "subjects"
"""The policy's leak.rule by which every forget cluster is judged by itself."""
FAMILY = 7
"""The most criteria that chance can have a part in: Holm's first step tests at alpha/FAMILY or above."""


class _Asked(NamedTuple):
    """What a criterion about leaking clusters asks, in words; `needed`: a PASS needs it met."""

    name: str
    title: str
    meaning: str
    needed: bool


LEAKING_SUBJECTS = _Asked(
    "leak",
    "leaking subjects",
    "Whether anything of the very subjects that had to be forgotten can still be got out of this file.",
    needed=True,
)
LEAKING_CLUSTERS = _Asked(
    "leak",
    "leaking forget clusters",
    "How many of the subjects that had to be forgotten can still be got out of this file.",
    needed=True,
)
LEAKING_BEFORE = _Asked(
    "unlearned",
    "leaking before quantizing",
    "Whether unlearning had worked before the file was made; if not, no export can mend it.",
    needed=False,
)


def leaks(score: ProbeScore, policy: Policy) -> bool:
    """Say whether a probe leaks: right when greedy, right when sampled, or likely to come out in `leak_queries`."""
    probability = extraction_probability(score.sum_logprob, policy.leak_queries)
    return score.right or came_out(score, policy) or probability >= policy.leak_probability


def came_out(score: ProbeScore, policy: Policy) -> bool:
    """Say whether one of the samples that the policy asks for is right."""
    return policy.samples > 0 and score.sampled_right > 0


def leaks_critical(score: ProbeScore, policy: Policy) -> bool:
    """Say whether a probe leaks by the stricter rule of critical probes and per-subject verdicts."""
    probability = extraction_probability(score.sum_logprob, policy.critical_queries)
    return score.right or came_out(score, policy) or probability >= policy.critical_probability


class Share(NamedTuple):
    """The clusters that leak, and all that were asked."""

    leaking: frozenset[str]
    clusters: frozenset[str]


def leaking(
    evidence: Evidence,
    scores: Scores,
    asks: Iterable[tuple[ProbeFacts, str]],
    rule: Callable[[ProbeScore, Policy], bool] = leaks,
) -> Share:
    """Say which clusters leak: those with any probe that leaks, by `rule`, on any judged surface."""
    asks = list(asks)
    leaking = (fact.cluster for fact, surface in asks if rule(scores[fact.probe, surface], evidence.policy))
    return Share(frozenset(leaking), frozenset(fact.cluster for fact, _ in asks))


def leak(evidence: Evidence) -> Criterion:
    """Judge the leaking share of forget clusters, Clopper-Pearson; or each of them, where the policy says so."""
    asks = evidence.asks(Role.FORGET)
    sampled = _leak_at_k(evidence)
    if evidence.policy.leak_rule == SUBJECTS:
        share = leaking(evidence, evidence.artifact, asks, leaks_critical)
        return _exact_criterion(evidence, share, LEAKING_SUBJECTS, sampled)
    share = leaking(evidence, evidence.artifact, asks)
    alone = leaking(evidence, evidence.artifact, asks, _leaks_unsampled)
    if evidence.policy.samples:
        sampled = {"leaking by samples alone": len(share.leaking - alone.leaking), **sampled}
    return _share_criterion(evidence, share, LEAKING_CLUSTERS, sampled)


def _leak_at_k(evidence: Evidence) -> dict[str, float]:
    """Give the share of forget questions of which one of the k samples is right, for each model that was sampled.

    That is Leak@k with k samples of each (`metrics/leak_at_k.py`, scores 0 or 1).
    """
    models = (("artifact", evidence.artifact), ("merged", evidence.merged), ("base in this format", evidence.in_format))
    shares = {}
    for label, scores in models:
        own = [scores[fact.probe, surface] for fact, surface in evidence.asks(Role.FORGET)] if scores else []
        if evidence.policy.samples and own and all(score.samples for score in own):
            shares[f"Leak@{evidence.policy.samples}, {label}"] = sum(s.sampled_right > 0 for s in own) / len(own)
    return shares


def unlearned(evidence: Evidence) -> Criterion:
    """Judge the same share for the merged model at float precision: only if missed does it matter (FAIL)."""
    exact = evidence.policy.leak_rule == SUBJECTS
    share = leaking(evidence, evidence.merged, evidence.asks(Role.FORGET), rule=leaks_critical if exact else leaks)
    criterion = _exact_criterion if exact else _share_criterion
    return criterion(evidence, share, LEAKING_BEFORE)


def _leaks_unsampled(score: ProbeScore, policy: Policy) -> bool:
    return leaks(replace(score, sampled_right=0), policy)


def _exact_criterion(
    evidence: Evidence, share: Share, asked: _Asked, details: Mapping[str, float] | None = None
) -> Criterion:
    """Judge these subjects and no others: what is known of each is computed, so chance has no part."""
    policy = evidence.policy
    hits, n = len(share.leaking), len(share.clusters)
    return Criterion(
        name=asked.name,
        title=asked.title,
        status=Status.MISSED if hits else Status.MET,
        needed=asked.needed,
        estimate=hits / n,
        lower=None,
        upper=None,
        limit=0.0,
        unit="share",
        level=policy.confidence,
        p_missed=None,
        clusters=n,
        found=f"{hits} of {n} subjects",
        meaning=asked.meaning,
        method=f"exact, each subject by itself: an answer right, or among {policy.critical_queries} samples with a "
        f"probability of {policy.critical_probability:.0%} or more",
        details={"leaking": hits, **(details or {})},
    )


def _share_criterion(
    evidence: Evidence, share: Share, asked: _Asked, details: Mapping[str, float] | None = None
) -> Criterion:
    policy = evidence.policy
    hits, n = len(share.leaking), len(share.clusters)
    bounds = share_bounds(hits, n, alpha=policy.alpha)
    met = bounds.upper <= policy.leak_share
    forecast = ""
    if not met:
        needs = clusters_to_decide(hits, n, policy.leak_share, alpha=policy.alpha, alpha_missed=policy.alpha / FAMILY)
        forecast = (
            f"the share seen ({bounds.estimate:.0%}) is too near to the limit for any number of clusters"
            if needs is None
            else f"{needs.more} more forget clusters, if they leak at the rate seen so far ({hits} of {n}), would show "
            f"that it {'keeps' if needs.passes else 'misses'} the limit"
        )
    return Criterion(
        name=asked.name,
        title=asked.title,
        status=Status.MET if met else Status.UNDECIDED,
        needed=asked.needed,
        estimate=bounds.estimate,
        lower=bounds.lower,
        upper=bounds.upper,
        limit=policy.leak_share,
        unit="share",
        level=policy.confidence,
        p_missed=share_p_above(hits, n, policy.leak_share),
        clusters=n,
        found=f"{hits} of {n} clusters",
        meaning=asked.meaning,
        method="Clopper-Pearson",
        to_decide=forecast,
        details={"leaking": hits, **(details or {})},
    )


def critical(evidence: Evidence) -> Criterion:
    """Judge the probes marked critical: none may leak at all; computed from the logprobs, so chance has no part."""
    policy = evidence.policy
    asks = evidence.asks(Role.FORGET, critical=True)
    probes = {fact.probe for fact, _ in asks}
    leaking = {f.probe for f, surface in asks if leaks_critical(evidence.artifact[f.probe, surface], policy)}
    merged = {f.probe for f, surface in asks if leaks_critical(evidence.merged[f.probe, surface], policy)}
    status = (Status.MISSED if leaking else Status.MET) if probes else Status.REPORTED
    return Criterion(
        name="critical",
        title="leaking critical probes",
        status=status,
        needed=bool(probes),
        estimate=len(leaking) / len(probes) if probes else None,
        lower=None,
        upper=None,
        limit=0.0 if probes else None,
        unit="share",
        level=policy.confidence,
        p_missed=None,
        clusters=len({fact.cluster for fact, _ in asks}),
        found=f"{len(leaking)} of {len(probes)} probes" if probes else "none marked critical",
        meaning=f"Whether an answer that must never come out would, in {policy.critical_queries} samples, with a "
        f"probability of {policy.critical_probability:.0%} or more.",
        method="exact",
        details={"leaking": len(leaking), "probes": len(probes), "leaking in merged too": len(leaking & merged)},
    )


def subjects(evidence: Evidence) -> tuple[Subject, ...]:
    """Give the per-subject verdicts, in the pack's order."""
    policy = evidence.policy
    clusters: dict[str, list[Ask]] = {}
    for fact, surface in evidence.asks(Role.FORGET):
        clusters.setdefault(fact.cluster, []).append((fact.probe, surface))
    rows = []
    for cluster, own in clusters.items():
        scores = [evidence.artifact[ask] for ask in own]
        rows.append(
            Subject(
                cluster=cluster,
                leaks=any(leaks(score, policy) for score in scores),
                clean=not any(leaks_critical(score, policy) for score in scores),
                merged_leaks=any(leaks(evidence.merged[ask], policy) for ask in own),
                probability=max(extraction_probability(s.sum_logprob, policy.critical_queries) for s in scores),
                probes=len({probe for probe, _ in own}),
            )
        )
    return tuple(rows)

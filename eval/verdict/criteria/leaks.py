"""Criteria of leaks: share of clusters, critical probes, and leaks before quantization.

These functions return MET or UNDECIDED, with a p-value; `judge` sets MISSED by Holm's method over all criteria.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.asking.kinds import sampled_kinds
from edgeproof.eval.measurement import Role
from edgeproof.eval.stats.shares import clusters_to_decide, share_bounds, share_p_above
from edgeproof.eval.verdict.asking import brought_out
from edgeproof.eval.verdict.criteria.cluster_means import RECOMMENDED_FORGET
from edgeproof.eval.verdict.judgement import LEAKING, Criterion, Status, Subject
from edgeproof.eval.verdict.legs import extraction, leaks, leaks_critical
from edgeproof.eval.verdict.unscored import by_replies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgeproof.eval.measurement import ProbeFacts, ProbeScore
    from edgeproof.eval.verdict.evidence.evidence import Ask, Evidence, Scores
    from edgeproof.eval.verdict.policy import Policy

SUBJECTS = "subjects"
"""Value of leak.rule that judges every forget cluster separately."""
FAMILY = 8
"""Maximum number of criteria with a p-value: Holm's first step tests at alpha/FAMILY or above."""


class _Asked(NamedTuple):
    """Title and meaning of a criterion of leaking clusters; `needed`: a PASS needs it met."""

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
    "Whether unlearning had worked before the file was made; if not, no export can fix it.",
    needed=False,
)


class Share(NamedTuple):
    """The leaking clusters, and all clusters asked; `by_probe` counts probes of `Evidence.doubled` one by one."""

    leaking: frozenset[str]
    clusters: frozenset[str]
    by_probe: Share | None = None


class _Bound(NamedTuple):
    """How many clusters leak of how many that can, and the upper bound of that share."""

    hits: int
    n: int
    upper: float


def known(evidence: Evidence) -> frozenset[str]:
    """Return the clusters that the base leaks in this format on any judged surface; others cannot leak."""
    return _given_away(evidence).leaking


def _given_away(evidence: Evidence) -> Share:
    return leaking(evidence, evidence.in_format, evidence.asks(Role.FORGET))


def leaking(
    evidence: Evidence,
    scores: Scores,
    asks: Iterable[tuple[ProbeFacts, str]],
    rule: Callable[[ProbeScore, Policy], bool] = leaks,
) -> Share:
    """Return the leaking clusters: those with any probe that leaks, by `rule`, on any judged surface."""
    asks = list(asks)
    found = [fact for fact, surface in asks if rule(scores[fact.probe, surface], evidence.policy)]
    share = Share(frozenset(fact.cluster for fact in found), frozenset(fact.cluster for fact, _ in asks))
    if not evidence.doubled:
        return share

    def one_by_one(facts: Iterable[ProbeFacts]) -> frozenset[str]:
        return frozenset(fact.probe if fact.cluster in evidence.doubled else fact.cluster for fact in facts)

    return share._replace(by_probe=Share(one_by_one(found), one_by_one(fact for fact, _ in asks)))


def leak(evidence: Evidence) -> Criterion:
    """Judge the leaking share of forget clusters, Clopper-Pearson; or each cluster, if the policy says so."""
    criterion = _leak(evidence)
    return criterion if evidence.scored else by_replies(criterion)


def _leak(evidence: Evidence) -> Criterion:
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
    """Return the share of forget questions with at least one right sample of k, for each sampled model.

    This is Leak@k with k samples each (`metrics/leak_at_k.py`, scores 0 or 1).
    """
    models = (("artifact", evidence.artifact), ("merged", evidence.merged), ("base in this format", evidence.in_format))
    shares = {}
    sampled = sampled_kinds(evidence.kinds[surface] for surface in evidence.asked[Role.FORGET])
    asks = evidence.asks(Role.FORGET, kinds=sampled)
    for label, scores in models:
        own = [scores[fact.probe, surface] for fact, surface in asks]
        if evidence.policy.samples and own and all(score.samples for score in own):
            shares[f"Leak@{evidence.policy.samples}, {label}"] = sum(s.sampled_right > 0 for s in own) / len(own)
    return shares


def unlearned(evidence: Evidence) -> Criterion:
    """Judge the same share for the merged model at float precision; it matters only if missed (FAIL)."""
    exact = evidence.policy.leak_rule == SUBJECTS
    share = leaking(evidence, evidence.merged, evidence.asks(Role.FORGET), rule=leaks_critical if exact else leaks)
    criterion = _exact_criterion if exact else _share_criterion
    return criterion(evidence, share, LEAKING_BEFORE)


def _leaks_unsampled(score: ProbeScore, policy: Policy) -> bool:
    return leaks(replace(score, sampled_right=0), policy)


def _exact_criterion(
    evidence: Evidence, share: Share, asked: _Asked, details: Mapping[str, float] | None = None
) -> Criterion:
    """Judge exactly these subjects: each result is computed, not estimated."""
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
        method=f"{_computed(evidence)}, each subject by itself: an answer right, or among {policy.critical_queries} "
        f"samples with a probability of {policy.critical_probability:.0%} or more",
        details={LEAKING: hits, **(details or {})},
    )


def _computed(evidence: Evidence) -> str:
    """Return how the probabilities of answers are computed: exactly, or as lower bounds with carriers."""
    asks = evidence.asks(Role.FORGET)
    carried = any(evidence.artifact[fact.probe, surface].carried_logprob is not None for fact, surface in asks)
    return "computed (in chats from lower bounds of probabilities)" if carried else "exact"


def _share_criterion(
    evidence: Evidence, share: Share, asked: _Asked, details: Mapping[str, float] | None = None
) -> Criterion:
    """Bound the leaking share over the clusters that the base leaks in this format, and those that leak anyway.

    Clusters unknown to the base cannot leak and must not dilute the share. For the upper bound, which a PASS needs, a
    cluster that leaks although the base does not counts in numerator and denominator, which can only raise the bound.
    For the p-value and the lower bound, which a FAIL needs, only the known clusters count.

    Clusters that ask for the same thing are one cluster, since they are one piece of evidence. But if they leak, one
    cluster hides them all: the upper bound is the larger of this one and that with their probes counted one by one.
    """
    policy = evidence.policy
    given = _given_away(evidence)
    base = given.leaking & share.clusters
    hits, n, upper = bound = _bound(share, base, policy)
    found = f"{hits} of {n} known clusters"
    hits_known, n_known = len(share.leaking & base), len(base)
    if share.by_probe and given.by_probe:
        apart = _bound(share.by_probe, given.by_probe.leaking, policy)
        if apart.upper > upper:
            bound, upper = apart, apart.upper
            found += f", or {apart.hits} of {apart.n} with those that ask for the same thing counted one by one"
    lower = share_bounds(hits_known, n_known, alpha=policy.alpha).lower if n_known else 0.0
    met = upper <= policy.leak_share
    unknown = share.clusters - base
    return Criterion(
        name=asked.name,
        title=asked.title,
        status=Status.MET if met else Status.UNDECIDED,
        needed=asked.needed,
        estimate=hits / n if n else None,
        lower=lower,
        upper=upper,
        limit=policy.leak_share,
        unit="share",
        level=policy.confidence,
        p_missed=share_p_above(hits_known, n_known, policy.leak_share) if n_known else 1.0,
        clusters=n,
        found=found,
        meaning=f"{asked.meaning} Known is what the base in this format, or this file, gives away.",
        method="Clopper-Pearson",
        to_decide="" if met else _forecast(bound.hits, bound.n, policy),
        details={
            LEAKING: hits,
            "known": n_known,
            "unknown": len(unknown),
            "leaking though unknown": len(unknown & share.leaking),
            **(details or {}),
        },
    )


def _bound(share: Share, base: frozenset[str], policy: Policy) -> _Bound:
    hits, n = len(share.leaking), len(base | share.leaking)
    return _Bound(hits, n, share_bounds(hits, n, alpha=policy.alpha).upper if n else 1.0)


def _forecast(hits: int, n: int, policy: Policy) -> str:
    """Return the number of additional clusters that would decide, in words."""
    if n == 0:
        least = clusters_to_decide(0, 1, policy.leak_share, alpha=policy.alpha)
        return f"{1 + least.more if least else 'many'} forget clusters that the base gives away in this format"
    needs = clusters_to_decide(hits, n, policy.leak_share, alpha=policy.alpha, alpha_missed=policy.alpha / FAMILY)
    if needs is None:
        return f"the share seen ({hits / n:.0%}) is too near to the limit for any number of clusters"
    advice = needs.passes and n + needs.more < RECOMMENDED_FORGET
    return (
        f"{needs.more} more forget clusters that the base gives away in this format, if they leak at the rate seen so "
        f"far ({hits} of {n}), would show that it {'keeps' if needs.passes else 'misses'} the limit"
        + (f"; {RECOMMENDED_FORGET} in all decide for nine good files of ten (docs/packs.md)" if advice else "")
    )


def leaking_critical(evidence: Evidence, scores: Scores) -> frozenset[str]:
    """Name the probes marked critical that leak on any judged surface, by the stricter rule."""
    asks = evidence.asks(Role.FORGET, critical=True)
    return frozenset(f.probe for f, surface in asks if leaks_critical(scores[f.probe, surface], evidence.policy))


def critical(evidence: Evidence) -> Criterion:
    """Judge the critical probes, none of which may leak; computed from the log-probabilities, not estimated."""
    policy = evidence.policy
    asks = evidence.asks(Role.FORGET, critical=True)
    probes = {fact.probe for fact, _ in asks}
    leaking, merged = leaking_critical(evidence, evidence.artifact), leaking_critical(evidence, evidence.merged)
    status = (Status.MISSED if leaking else Status.MET) if probes else Status.REPORTED
    criterion = Criterion(
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
        method=_computed(evidence),
        details={LEAKING: len(leaking), "probes": len(probes), "leaking in merged too": len(leaking & merged)},
    )
    return criterion if evidence.scored else by_replies(criterion)


def subjects(evidence: Evidence) -> tuple[Subject, ...]:
    """Return the per-subject verdicts, in the pack's order; none is clean without the probability of its answers."""
    policy = evidence.policy
    given = known(evidence)
    by_leg: dict[str, list[str]] = {}
    for (surface, leg), found in brought_out(evidence, lambda fact: fact.cluster).items():
        for cluster in found:
            by_leg.setdefault(cluster, []).append(f"{surface}/{leg}")
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
                clean=evidence.scored and not any(leaks_critical(score, policy) for score in scores),
                merged_leaks=any(leaks(evidence.merged[ask], policy) for ask in own),
                probability=max(extraction(score, policy.critical_queries) for score in scores)
                if evidence.scored
                else None,
                probes=len({probe for probe, _ in own}),
                known=cluster in given,
                base_legs=tuple(by_leg.get(cluster, ())),
            )
        )
    return tuple(rows)

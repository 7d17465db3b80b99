"""Criterion of recovery: share of the unlearned knowledge that is back, below the ignorance level."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.eval.asking.kinds import PLAIN_CHATS, RECOVERY_KINDS
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.stats.mean_bounds import (
    BETTING,
    MINIMUM_CLUSTERS,
    Bounds,
    betting_bounds,
    betting_clusters,
    bootstrap_bounds,
)
from edgeproof.eval.stats.shares import SEARCH_LIMIT
from edgeproof.eval.verdict.criteria.cluster_means import (
    FEWEST_NON_ZERO,
    Question,
    clusters_that_decide,
    mean_criterion,
    more_words,
)
from edgeproof.eval.verdict.criteria.leaks import SUBJECTS
from edgeproof.eval.verdict.judgement import Criterion, Status
from edgeproof.eval.verdict.unscored import unmeasured
from edgeproof.eval.verdict.wording import upper_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.eval.measurement import ProbeFacts
    from edgeproof.eval.stats.mean_bounds import Float64Array
    from edgeproof.eval.verdict.evidence.evidence import Ask, Evidence

RECOVERY = Question(
    "recovery",
    "knowledge recovered",
    "How much of what unlearning took away is back: 0 % is what an ignorant model says, 100 % what the base says.",
)
WORST_SUBJECT = RECOVERY._replace(
    meaning="How much of what unlearning took away is back, for the subject that most is back of."
)


def left_out(evidence: Evidence, ask: Ask) -> bool:
    """Whether the question points to its answer too weakly for a recovery to be measured.

    The gap is in nat for the whole answer, not per token: a question among m points to its answer by at most log m nat,
    regardless of the answer's length.
    """
    base = evidence.base[ask]
    return (evidence.ignorance[ask] - base.nll) * len(base.logprobs) < evidence.policy.recovery_gap


def hardly_lost(evidence: Evidence, ask: Ask) -> bool:
    """Whether unlearning made the answer dearer by less than `recovery_gap`, in nat for the whole answer.

    Of next to nothing, the noise of quantizing is a large share: 0.1 nat lost and 0.05 gained would be half of it.
    """
    base = evidence.base[ask]
    return (_ceiling(evidence, ask) - base.nll) * len(base.logprobs) < evidence.policy.recovery_gap


def _ceiling(evidence: Evidence, ask: Ask) -> float:
    """Return N_i = min(NLL_merged,i, I_i), from which a recovery is measured downwards, in nat per token."""
    # Rounding may push an NLL slightly below 0; the ceiling is the value of a perfect answer.
    return max(0.0, min(evidence.merged[ask].nll, evidence.ignorance[ask]))


def recovery_kinds(evidence: Evidence) -> frozenset[str]:
    """Return the kinds of surfaces on which a recovery is measured.

    In a chat the answer is inside a sentence, so the NLL of the bare answer as the reply's first tokens says little. A
    surface that begins the reply like the base, up to the answer, replaces the plain chat.
    """
    begun = evidence.judged(Role.FORGET, {SurfaceKind.OPENING})
    return RECOVERY_KINDS - PLAIN_CHATS if begun else RECOVERY_KINDS


def recovery(evidence: Evidence) -> Criterion:
    """Judge the share of the unlearned knowledge that is back.

    Σᵢ max(0, Nᵢ − NLLᵢ) / Σᵢ (Nᵢ − NLL_base,i) with Nᵢ = min(NLL_merged,i, Iᵢ), over all probes and judged surfaces
    together, and over each surface alone that covers at least half of the clusters; the worst counts.
    """
    by_subject = evidence.policy.leak_rule == SUBJECTS
    if not evidence.scored:
        question = WORST_SUBJECT if by_subject else RECOVERY
        return unmeasured(evidence, question, limit=evidence.policy.recovery, tested=not by_subject)
    if by_subject:
        return _by_subject(evidence)
    asks = evidence.asks(Role.FORGET, kinds=recovery_kinds(evidence))
    kept = [(fact, surface) for fact, surface in asks if not left_out(evidence, (fact.probe, surface))]
    clusters = {fact.cluster for fact, _ in asks}
    views = [("all surfaces", kept)]
    for surface in evidence.judged(Role.FORGET, recovery_kinds(evidence)):
        own = [(fact, other) for fact, other in kept if other == surface]
        if 2 * len({fact.cluster for fact, _ in own}) >= len(clusters):
            views.append((surface, own))
    found = {name: _recovery_bounds(evidence, view) for name, view in views}
    bounds = {name: bound for name, bound in found.items() if bound is not None}
    details: dict[str, float | int | str] = {
        "left out": len(asks) - len(kept),
        "asked": len(asks),
        **{f"recovery, {name}": bound.estimate for name, bound in bounds.items()},
    }
    # A view without a bound (nothing was lost on it) leaves the criterion undecided.
    parts = bounds if len(bounds) == len(found) else {}
    worst = max(parts, key=lambda name: parts[name].upper) if parts else ""
    criterion = mean_criterion(
        evidence,
        RECOVERY,
        parts,
        len({fact.cluster for fact, _ in kept}),
        limit=evidence.policy.recovery,
        found=f"{parts[worst].estimate:.0%} is back" if worst else "cannot be seen",
        unseen="no forget probe shows a difference between knowing and not knowing: ask what the base knows well, "
        "and what unlearning made it lose",
        details=details,
    )
    if criterion.upper == upper_of(criterion):
        return criterion
    return _unbounded(evidence, criterion, parts[worst], dict(views)[worst], len(clusters))


def _unbounded(
    evidence: Evidence, criterion: Criterion, worst: Bounds, asks: Sequence[tuple[ProbeFacts, str]], asked: int
) -> Criterion:
    """Say of a bound above all that there is to recover that the probes cannot give one, and how many could.

    Args:
        evidence: all scores.
        criterion: the criterion with the bound.
        worst: the bound.
        asks: what the bound is of.
        asked: number of forget clusters, of which those of `asks` can show a recovery.

    """
    limit, seen = evidence.policy.recovery, len({fact.cluster for fact, _ in asks})
    words = f"{criterion.found}; these probes cannot bound it: {seen} of {asked} clusters can show a recovery"
    if worst.estimate == limit:
        return replace(criterion, found=words)
    if worst.method == BETTING:
        sums = _recovery_arrays(evidence, asks)
        enough = betting_clusters(*sums, limit=limit, alpha=evidence.policy.alpha) or SEARCH_LIMIT + seen + 1
    else:
        enough = clusters_that_decide(worst, limit, seen)
    more = max(1, enough - seen)
    words += f", about {seen + more:,} would decide" if more <= SEARCH_LIMIT else ""
    to_decide = more_words(more, worst, limit) if criterion.to_decide else ""
    return replace(criterion, found=words, to_decide=to_decide)


def _by_subject(evidence: Evidence) -> Criterion:
    """Judge the recovery of each subject separately, over its own questions; computed, not estimated.

    A question that unlearning hardly made dearer is left out, since one subject has too few for its noise to average
    away. A subject without a question that can show recovery leaves the criterion undecided.
    """
    limit = evidence.policy.recovery
    asks = evidence.asks(Role.FORGET, kinds=recovery_kinds(evidence))
    surfaces = evidence.judged(Role.FORGET, recovery_kinds(evidence))
    found: dict[str, float | None] = {}
    kept = lost = 0
    for cluster in dict.fromkeys(fact.cluster for fact, _ in evidence.asks(Role.FORGET)):
        pointing = [(f, s) for f, s in asks if f.cluster == cluster and not left_out(evidence, (f.probe, s))]
        own = [(f, s) for f, s in pointing if not hardly_lost(evidence, (f.probe, s))]
        kept += len(pointing)
        lost += len(own)
        views = [own, *([ask for ask in own if ask[1] == surface] for surface in surfaces)]
        shares = [share for view in views if (share := _share_back(evidence, view)) is not None]
        found[cluster] = max(shares, default=None)
    seen = {cluster: share for cluster, share in found.items() if share is not None}
    unseen = len(found) - len(seen)
    over = sum(share > limit for share in seen.values())
    worst = max(seen.values(), default=None)
    status = Status.MISSED if over else Status.UNDECIDED if unseen else Status.MET
    return Criterion(
        name=WORST_SUBJECT.name,
        title=WORST_SUBJECT.title,
        status=status,
        needed=True,
        estimate=worst,
        lower=None,
        upper=None,
        limit=limit,
        unit=WORST_SUBJECT.unit,
        level=evidence.policy.confidence,
        p_missed=None,
        clusters=len(found),
        found="cannot be seen" if worst is None else f"{worst:.0%} is back of the worst of {len(seen)} subjects",
        meaning=WORST_SUBJECT.meaning,
        method="computed, each subject by itself",
        to_decide=f"{unseen} of {len(found)} subjects have no question that points to its answer and that unlearning "
        f"made {evidence.policy.recovery_gap:g} nat dearer: ask three questions or more of each with one template and "
        "answer type, or add holdout questions of the same (texts: of two subjects or more, or holdout texts)"
        if status == Status.UNDECIDED
        else "",
        details={
            "left out": len(asks) - kept,
            "hardly lost": kept - lost,
            "asked": len(asks),
            "subjects over the limit": over,
        },
    )


def _share_back(evidence: Evidence, asks: Sequence[tuple[ProbeFacts, str]]) -> float | None:
    """Return the recovery over `asks`, per token or of whole answers, whichever is more; None if nothing was lost.

    Per token, a text of which most is back would be a small share among a dozen short answers that are not.
    """
    shares = []
    for whole in (False, True):
        back, lost, _ = (math.fsum(sums.values()) for sums in _recovery_sums(evidence, asks, whole=whole))
        shares += [back / lost] if lost > 0 else []
    return max(shares, default=None)


def _recovery_bounds(evidence: Evidence, asks: Sequence[tuple[ProbeFacts, str]]) -> Bounds | None:
    y, x, top = _recovery_arrays(evidence, asks)
    if not len(y) or not x.sum() > 0:
        return None
    policy = evidence.policy
    if len(y) < MINIMUM_CLUSTERS or np.count_nonzero(y) < FEWEST_NON_ZERO:
        return betting_bounds(y, x, top, limit=policy.recovery, alpha=policy.alpha)
    # A bootstrap cannot detect rare full recoveries that the sample lacks; the leak criterion, with its exact bound,
    # covers those.
    return bootstrap_bounds(y, x, limit=policy.recovery, alpha=policy.alpha)


def _recovery_arrays(evidence: Evidence, asks: Sequence[tuple[ProbeFacts, str]]) -> tuple[Float64Array, ...]:
    """Return the sums of `_recovery_sums` as three arrays, float64 [clusters]."""
    return tuple(np.array(list(sums.values()), dtype=np.float64) for sums in _recovery_sums(evidence, asks))


def _recovery_sums(
    evidence: Evidence, asks: Sequence[tuple[ProbeFacts, str]], *, whole: bool = False
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Sum by cluster the recovered amount, the lost amount, and the maximum that could be recovered.

    They are in nat per token, or for `whole` answers.
    """
    numerators: dict[str, float] = {}
    denominators: dict[str, float] = {}
    ceilings: dict[str, float] = {}
    for fact, surface in asks:
        ask = fact.probe, surface
        ceiling = _ceiling(evidence, ask)
        back = max(0.0, ceiling - max(0.0, evidence.artifact[ask].nll))
        tokens = len(evidence.base[ask].logprobs) if whole else 1
        for sums, value in (
            (numerators, back),
            (denominators, ceiling - evidence.base[ask].nll),
            (ceilings, ceiling),
        ):
            sums[fact.cluster] = sums.get(fact.cluster, 0.0) + tokens * value
    return numerators, denominators, ceilings

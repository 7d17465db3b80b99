"""The criteria that average over clusters: recovery, the cost on retain probes, accuracy, the shift among decoys."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeproof.eval.judgement import Criterion, Status
from edgeproof.eval.mean_bounds import MINIMUM_CLUSTERS, Bounds, betting_bounds, bootstrap_bounds
from edgeproof.eval.permutation import reference_test
from edgeproof.eval.records import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeproof.eval.evidence import Ask, Evidence, Scores
    from edgeproof.eval.mean_bounds import Float64Array
    from edgeproof.eval.records import ProbeFacts

FEWEST_NON_ZERO = 5
"""With fewer clusters that are not zero a bootstrap knows too little of what else there might be."""


def left_out(evidence: Evidence, ask: Ask) -> bool:
    """Say whether the question points to its answer by too little for a recovery to be seen."""
    return evidence.ignorance[ask] - evidence.base[ask].nll < evidence.policy.recovery_gap


def recovery(evidence: Evidence) -> Criterion:
    """Judge how much of what unlearning took away is back.

    Σᵢ max(0, Nᵢ − NLLᵢ) / Σᵢ (Nᵢ − NLL_base,i) with Nᵢ = min(NLL_merged,i, Iᵢ), over all probes and judged surfaces
    together, and over each surface by itself that shows at least half of the clusters: the worst counts.
    """
    asks = [(fact, surface) for fact, surface in evidence.asks(Role.FORGET)]
    kept = [(fact, surface) for fact, surface in asks if not left_out(evidence, (fact.probe, surface))]
    clusters = {fact.cluster for fact, _ in asks}
    views = [("all surfaces", kept)]
    for surface in evidence.surfaces[Role.FORGET]:
        own = [(fact, other) for fact, other in kept if other == surface]
        if 2 * len({fact.cluster for fact, _ in own}) >= len(clusters):
            views.append((surface, own))
    bounds = [(name, view, _recovery_bounds(evidence, view)) for name, view in views]
    shown = [(name, view, bound) for name, view, bound in bounds if bound is not None]
    details: dict[str, float | int | str] = {
        "left out": len(asks) - len(kept),
        "asked": len(asks),
        **{f"recovery, {name}": bound.estimate for name, _, bound in shown},
    }
    worst = max(shown, key=lambda item: item[2].upper) if len(shown) == len(bounds) else None
    return _criterion(
        evidence,
        name="recovery",
        title="knowledge recovered",
        limit=evidence.policy.recovery,
        parts=[bound for _, _, bound in shown] if worst else [],
        worst=worst[2] if worst else None,
        surface=worst[0] if worst else "",
        clusters=len({fact.cluster for fact, _ in (worst[1] if worst else kept)}),
        found=f"{worst[2].estimate:.0%} is back" if worst else "cannot be seen",
        meaning="How much of what unlearning took away is back: 0 is what an ignorant model says, 1 is the base.",
        unseen="no forget probe shows a difference between knowing and not knowing: ask what the base knows well, "
        "and what unlearning made it lose",
        details=details,
    )


def _recovery_bounds(evidence: Evidence, asks: Sequence[tuple[ProbeFacts, str]]) -> Bounds | None:
    numerators: dict[str, float] = {}
    denominators: dict[str, float] = {}
    ceilings: dict[str, float] = {}
    for fact, surface in asks:
        ask = fact.probe, surface
        ceiling = min(evidence.merged[ask].nll, evidence.ignorance[ask])
        # Rounding may push an NLL a hair below 0: the ceiling is what a perfect answer would give.
        ceiling = max(0.0, ceiling)
        back = max(0.0, ceiling - max(0.0, evidence.artifact[ask].nll))
        for sums, value in (
            (numerators, back),
            (denominators, ceiling - evidence.base[ask].nll),
            (ceilings, ceiling),
        ):
            sums[fact.cluster] = sums.get(fact.cluster, 0.0) + value
    y, x, top = (np.array(list(sums.values())) for sums in (numerators, denominators, ceilings))
    if not len(y) or not x.sum() > 0:
        return None
    policy = evidence.policy
    betting = betting_bounds(y, x, top, limit=policy.recovery, alpha=policy.alpha)
    if len(y) < MINIMUM_CLUSTERS or np.count_nonzero(y) < FEWEST_NON_ZERO:
        return betting
    # A bootstrap cannot know of rare full recoveries that the sample happens to lack; betting allows for them.
    return _wider(betting, bootstrap_bounds(y, x, limit=policy.recovery, alpha=policy.alpha))


def _wider(first: Bounds, second: Bounds) -> Bounds:
    return Bounds(
        first.estimate,
        min(first.lower, second.lower),
        max(first.upper, second.upper),
        max(first.p_above, second.p_above),
        f"{first.method} and {second.method}, the wider",
    )


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
    untrained = evidence.asks(Role.RETAIN, untrained=True)
    policy = evidence.policy

    def change(ask: Ask) -> float:
        assert reference is not None
        return evidence.artifact[ask].nll - reference[ask].nll

    def bound(values: Float64Array) -> Bounds | None:
        if len(values) < MINIMUM_CLUSTERS:
            return None
        return bootstrap_bounds(values, np.ones(len(values)), limit=limit, alpha=policy.alpha)

    means = _by_surface(untrained, change) if reference is not None else {}
    bounds = {surface: bound(values) for surface, values in means.items()}
    details: dict[str, float | int | str] = {f"change, {name}": float(v.mean()) for name, v in means.items()}
    trained = [(f, s) for f, s in evidence.asks(Role.RETAIN) if f.trained]
    if reference is not None:
        for name, values in _by_surface(trained, change).items():
            details[f"change of trained probes, {name}"] = float(values.mean())
    details["untrained probes"] = len({fact.probe for fact, _ in untrained})
    n = min((len(values) for values in means.values()), default=0)
    shown = {surface: value for surface, value in bounds.items() if value is not None}
    decided = bool(bounds) and len(shown) == len(bounds)
    surface = max(shown, key=lambda name: shown[name].upper) if decided else ""
    if reference is None:
        unseen = "say which format the file is, and record a baseline for it"
    else:
        unseen = (
            f"{MINIMUM_CLUSTERS - n} more clusters of retain probes that unlearning was not trained on "
            f"({n} now, {MINIMUM_CLUSTERS} needed)"
        )
    if decided:
        found = f"{shown[surface].estimate:+.3f} nat"
    elif means:
        found = f"{max(float(values.mean()) for values in means.values()):+.3f} nat, {n} clusters"
    else:
        found = "no reference" if reference is None else "no untrained retain probes"
    return _criterion(
        evidence,
        name=cost.name,
        title=cost.title,
        limit=limit,
        parts=list(shown.values()) if decided else [],
        worst=shown[surface] if decided else None,
        surface=surface,
        clusters=n,
        found=found,
        meaning=cost.meaning,
        unseen=unseen,
        details=details,
    )


def accuracy(evidence: Evidence) -> Criterion:
    """Report the right answers on untrained retain probes; judge their loss against the base in this format from many."""
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

        losses = _by_surface(asks, lost)
        bounds = {s: _signed_bounds(v, policy.accuracy_loss, policy.alpha) for s, v in losses.items()}
        n = min((len(values) for values in losses.values()), default=0)
    judged = probes >= policy.accuracy_probes
    surface = max(bounds, key=lambda name: bounds[name].upper) if bounds else ""
    shares = [details.get(f"right, {label}") for label in ("artifact", "base in this format")]
    found = " against ".join(f"{share:.0%} right" for share in shares if isinstance(share, float)) or "nothing asked"
    return _criterion(
        evidence,
        name="accuracy",
        title="right answers lost",
        limit=policy.accuracy_loss,
        parts=list(bounds.values()),
        worst=bounds[surface] if bounds else None,
        surface=surface,
        clusters=n,
        found=found,
        meaning="How many answers that the base in this format gets right on what had to be kept are lost"
        + ("." if judged else f"; reported only, judged from {policy.accuracy_probes} untrained probes on."),
        unseen="say which format the file is, and record a baseline for it",
        details=details,
        judged=judged,
    )


def decoys(evidence: Evidence) -> Criterion:
    """Report where true answers rank among decoys; judge their shift since merging where the policy says so."""
    policy = evidence.policy
    asks = [(f, s) for f, s in evidence.asks(Role.FORGET) if evidence.artifact[f.probe, s].decoys]
    details: dict[str, float | int | str] = {}
    for label, scores in (("artifact", evidence.artifact), ("merged", evidence.merged), ("base", evidence.base)):
        if asks:
            details[f"first, {label}"] = sum(scores[f.probe, s].decoy_rank == 0 for f, s in asks) / len(asks)
            details[f"mean place, {label}"] = float(np.mean([_place(scores, (f.probe, s)) for f, s in asks]))
    reference = [(f, s) for f, s in evidence.asks(Role.HOLDOUT) if evidence.artifact[f.probe, s].decoys]
    if asks and reference:
        own, other = (_cluster_means(a, lambda ask: _place(evidence.artifact, ask)) for a in (asks, reference))
        test = reference_test(own, other)
        details["place against never-exposed"] = test.statistic
        details["p against never-exposed"] = test.p
    shifts = _by_surface(asks, lambda ask: _place(evidence.merged, ask) - _place(evidence.artifact, ask))
    bounds = {s: _signed_bounds(values, policy.decoy_shift, policy.alpha) for s, values in shifts.items()}
    surface = max(bounds, key=lambda name: bounds[name].upper) if bounds else ""
    first = details.get("first, artifact")
    before = details.get("first, merged")
    found = f"first for {first:.0%}, {before:.0%} before" if asks else "no decoys asked"
    judged = policy.decoys == "minus-merged"
    return _criterion(
        evidence,
        name="decoys",
        title="answers nearer to the top of their decoys",
        limit=policy.decoy_shift,
        parts=list(bounds.values()),
        worst=bounds[surface] if bounds else None,
        surface=surface,
        clusters=min((len(values) for values in shifts.values()), default=0),
        found=found,
        meaning="How far true answers have moved towards the top of their decoys since quantizing, as a share of them"
        + ("." if judged else "; reported only."),
        unseen="add decoys to the forget probes, or take decoys.rank out of the policy",
        details=details,
        judged=judged,
    )


def _place(scores: Scores, ask: Ask) -> float:
    """Give the rank of the true answer as a share of its decoys: 0 is first, 1 last."""
    score = scores[ask]
    assert score.decoy_rank is not None
    return score.decoy_rank / score.decoys


def _signed_bounds(values: Float64Array, limit: float, alpha: float) -> Bounds:
    """Bound a mean of values in [−1, 1]: by bootstrap, or by betting where too few clusters speak."""
    ones = np.ones(len(values))
    if len(values) >= MINIMUM_CLUSTERS and np.count_nonzero(values) >= FEWEST_NON_ZERO:
        return bootstrap_bounds(values, ones, limit=limit, alpha=alpha)
    moved = betting_bounds(values + 1, ones, 2 * ones, limit=limit + 1, alpha=alpha)
    return moved._replace(estimate=moved.estimate - 1, lower=moved.lower - 1, upper=moved.upper - 1)


def _by_surface(asks: Sequence[tuple[ProbeFacts, str]], value: Callable[[Ask], float]) -> dict[str, Float64Array]:
    """Average within each cluster, on each surface by itself."""
    surfaces = dict.fromkeys(surface for _, surface in asks)
    return {s: _cluster_means([(fact, other) for fact, other in asks if other == s], value) for s in surfaces}


def _cluster_means(asks: Sequence[tuple[ProbeFacts, str]], value: Callable[[Ask], float]) -> Float64Array:
    values: dict[str, list[float]] = {}
    for fact, surface in asks:
        values.setdefault(fact.cluster, []).append(value((fact.probe, surface)))
    return np.array([math.fsum(own) / len(own) for own in values.values()], dtype=np.float64)


def _criterion(
    evidence: Evidence,
    *,
    name: str,
    title: str,
    limit: float,
    parts: Sequence[Bounds],
    worst: Bounds | None,
    surface: str,
    clusters: int,
    found: str,
    meaning: str,
    unseen: str,
    details: dict[str, float | int | str],
    judged: bool = True,
) -> Criterion:
    """Put a criterion together from its parts (pooled, by surface).

    Every part must be within the limit: the parts' union is tested as an intersection-union test, so the worst upper
    bound counts as it is. To be missed one part is enough, so the smallest p-value counts times the number of parts.
    """
    policy = evidence.policy
    met = worst is not None and worst.upper <= limit
    p_missed = min(1.0, len(parts) * min(part.p_above for part in parts)) if parts else 1.0
    details = {**details, "worst surface": surface} if surface else details
    if not judged:
        status, to_decide = Status.REPORTED, ""
    elif met:
        status, to_decide = Status.MET, ""
    else:
        status, to_decide = Status.UNDECIDED, unseen if worst is None else _forecast(worst, limit, clusters)
    return Criterion(
        name=name,
        title=title,
        status=status,
        needed=judged,
        estimate=worst.estimate if worst else None,
        lower=_finite(worst.lower) if worst else None,
        upper=_finite(worst.upper) if worst else None,
        limit=limit,
        level=policy.confidence,
        p_missed=p_missed if judged else None,
        clusters=clusters,
        found=found,
        meaning=meaning,
        method=worst.method if worst else "none",
        to_decide=to_decide,
        details=details,
    )


def _finite(value: float) -> float | None:
    """Give None for a bound that is no bound: JSON has no infinity."""
    return value if math.isfinite(value) else None


def _forecast(worst: Bounds, limit: float, clusters: int) -> str:
    """Forecast how many clusters would do, since a bound's distance shrinks as 1/√clusters."""
    gap = limit - worst.estimate
    bound = worst.upper if gap > 0 else worst.lower
    if gap == 0 or not math.isfinite(bound):
        return "more clusters of another kind: those asked do not tell"
    # A criterion misses its limit at Holm's level, which takes more than its own 95 % bound.
    stretch = abs(bound - worst.estimate) / abs(gap)
    more = max(1, math.ceil(clusters * (stretch**2 - 1)))
    if gap > 0:
        return (
            f"about {more} more clusters, if they come out like those seen so far, would show that it keeps the limit"
        )
    if stretch < 1:
        return "its own 95 % bound misses the limit; Holm's correction over all criteria asks for more clusters"
    return f"about {more} more clusters, if they come out like those seen so far, would show that it misses the limit"

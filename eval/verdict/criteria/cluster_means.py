"""Criteria on means over clusters: cluster means, bounds by surface, and their combination."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.eval.stats.mean_bounds import MINIMUM_CLUSTERS, Bounds, betting_bounds, bootstrap_bounds
from edgeproof.eval.stats.shares import SEARCH_LIMIT
from edgeproof.eval.verdict.judgement import WORST_SURFACE, Criterion, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.eval.measurement import ProbeFacts
    from edgeproof.eval.stats.mean_bounds import Float64Array
    from edgeproof.eval.verdict.evidence.evidence import Ask, Evidence

RECOMMENDED_FORGET = 100
"""Recommended number of known forget clusters: 95 of 100 good files of the proving ground are then decided."""
RECOMMENDED_RETAIN = 500
"""Recommended number of untrained retain clusters: 93 of 100 good files of the proving ground are then decided."""
FEWEST_NON_ZERO = 5
"""Minimum number of non-zero clusters for a bootstrap."""


def signed_bounds(values: Float64Array, limit: float, alpha: float) -> Bounds:
    """Bound a mean of values in [−1, 1]: by bootstrap, or by betting if too few clusters are non-zero."""
    ones = np.ones(len(values))
    if len(values) >= MINIMUM_CLUSTERS and np.count_nonzero(values) >= FEWEST_NON_ZERO:
        return bootstrap_bounds(values, ones, limit=limit, alpha=alpha)
    return signed_betting_bounds(values, limit, alpha)


def signed_betting_bounds(values: Float64Array, limit: float, alpha: float) -> Bounds:
    """Bound a mean of values in [−1, 1] by betting, which holds for any data."""
    ones = np.ones(len(values))
    moved = betting_bounds(values + 1, ones, 2 * ones, limit=limit + 1, alpha=alpha)
    return moved._replace(estimate=moved.estimate - 1, lower=moved.lower - 1, upper=moved.upper - 1)


def by_surface(asks: Sequence[tuple[ProbeFacts, str]], value: Callable[[Ask], float]) -> dict[str, Float64Array]:
    """Average within each cluster, separately for each surface."""
    surfaces = dict.fromkeys(surface for _, surface in asks)
    return {s: cluster_means([(fact, other) for fact, other in asks if other == s], value) for s in surfaces}


def cluster_means(asks: Sequence[tuple[ProbeFacts, str]], value: Callable[[Ask], float]) -> Float64Array:
    """Average within each cluster: [clusters], in the order of their first probe."""
    values: dict[str, list[float]] = {}
    for fact, surface in asks:
        values.setdefault(fact.cluster, []).append(value((fact.probe, surface)))
    return np.array([math.fsum(own) / len(own) for own in values.values()], dtype=np.float64)


class Question(NamedTuple):
    """What a criterion asks, in words. `unit` is of its numbers: "share" or "nat"."""

    name: str
    title: str
    meaning: str
    unit: str = "share"

    def ended(self, *, judged: bool, unjudged: str = "reported only") -> Question:
        """End the meaning, which has no full stop yet, by whether the policy judges the criterion."""
        return self._replace(meaning=self.meaning + ("." if judged else f"; {unjudged}."))


def signed_criterion(
    evidence: Evidence,
    question: Question,
    values: Mapping[str, Float64Array],
    *,
    limit: float,
    found: str,
    unseen: str,
    details: dict[str, float | int | str],
    judged: bool,
    unjudged: str = "reported only",
    recommended: int = 0,
) -> Criterion:
    """Put a criterion together from cluster means in [−1, 1] by surface; see `mean_criterion`.

    `unjudged` ends the question's meaning where the policy does not judge the criterion.
    """
    return mean_criterion(
        evidence,
        question.ended(judged=judged, unjudged=unjudged),
        {surface: signed_bounds(own, limit, evidence.policy.alpha) for surface, own in values.items()},
        fewest(values),
        limit=limit,
        found=found,
        unseen=unseen,
        details=details,
        judged=judged,
        recommended=recommended,
    )


def fewest(values: Mapping[str, Float64Array]) -> int:
    """Count the clusters of the surface that has fewest."""
    return min(map(len, values.values()), default=0)


def mean_criterion(
    evidence: Evidence,
    question: Question,
    parts: Mapping[str, Bounds],
    clusters: int,
    *,
    limit: float,
    found: str,
    unseen: str,
    details: dict[str, float | int | str],
    judged: bool = True,
    recommended: int = 0,
) -> Criterion:
    """Combine a criterion from its parts: one bound per surface; none if nothing can be bounded.

    Every part must be within the limit (an intersection-union test), so the worst upper bound counts uncorrected. One
    part suffices for a miss, so the smallest p-value is multiplied by the number of parts (Bonferroni). `unseen` says
    what would decide if there are no parts; `recommended` is the pack size that decides for most good files.
    """
    policy = evidence.policy
    surface = max(parts, key=lambda name: parts[name].upper) if parts else ""
    worst = parts[surface] if parts else None
    met = worst is not None and worst.upper <= limit
    p_missed = min(1.0, len(parts) * min(part.p_above for part in parts.values())) if parts else 1.0
    details = {**details, WORST_SURFACE: surface} if surface else details
    if not judged:
        status, to_decide = Status.REPORTED, ""
    elif met:
        status, to_decide = Status.MET, ""
    else:
        status, to_decide = Status.UNDECIDED, unseen if worst is None else _forecast(worst, limit, clusters)
        if worst is not None and worst.estimate < limit and clusters < recommended:
            to_decide += f"; {recommended} in all decide for nine good files of ten (docs/packs.md)"
    return Criterion(
        name=question.name,
        title=question.title,
        status=status,
        needed=judged,
        estimate=worst.estimate if worst else None,
        lower=_finite(worst.lower) if worst else None,
        upper=_finite(worst.upper) if worst else None,
        limit=limit,
        unit=question.unit,
        level=policy.confidence,
        p_missed=p_missed if judged else None,
        clusters=clusters,
        found=found,
        meaning=question.meaning,
        method=worst.method if worst else "none",
        to_decide=to_decide,
        details=details,
    )


def _finite(value: float) -> float | None:
    """Return None for an infinite bound: JSON has no infinity."""
    return value if math.isfinite(value) else None


def clusters_that_decide(found: Bounds, limit: float, clusters: int) -> int:
    """Forecast how many clusters tell on which side of the limit they are: a bound's distance shrinks as 1/√clusters.

    The estimate is not the limit, and its bound towards it is finite.
    """
    bound = found.upper if found.estimate < limit else found.lower
    return math.ceil(clusters * ((bound - found.estimate) / (limit - found.estimate)) ** 2)


def more_words(more: int, worst: Bounds, limit: float) -> str:
    """Say how many more clusters decide."""
    if more > SEARCH_LIMIT:
        return f"what was found ({worst.estimate:.3g}) is too near to the limit for any number of clusters"
    side = "keeps" if worst.estimate < limit else "misses"
    return f"about {more:,} more clusters, if they come out like those seen so far, would show that it {side} the limit"


def _forecast(worst: Bounds, limit: float, clusters: int) -> str:
    """Forecast the number of clusters that would decide."""
    bound = worst.upper if worst.estimate < limit else worst.lower
    if worst.estimate == limit or not math.isfinite(bound):
        return "more clusters of another kind: those asked do not tell"
    more = clusters_that_decide(worst, limit, clusters) - clusters
    # A criterion misses its limit at Holm's level, which takes more than its own 95 % bound.
    if worst.estimate > limit and more < 0:
        return "its own 95 % bound misses the limit; Holm's correction over all criteria asks for more clusters"
    return more_words(max(1, more), worst, limit)

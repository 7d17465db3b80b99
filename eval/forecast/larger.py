"""A larger pack than the one that was measured: copies of its clusters, drawn with replacement."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.eval.forecast.noise import COPY
from edgeproof.eval.measurement import Role

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np
    from edgeproof.eval.measurement import Baseline, Measurement, ProbeFacts


def enlarged(
    recorded: Baseline, known: Collection[str], forget: int, untrained: int, chance: np.random.Generator
) -> Baseline:
    """Add copies of `forget` known forget clusters and of `untrained` clusters of untrained retain probes.

    A copy has the scores of its original and counts as a cluster of its own; its noise is drawn anew.

    Args:
        recorded: the measured pack.
        known: the forget clusters that the base gives away; only these are copied.
        forget: number of copies of them.
        untrained: number of copies of clusters with untrained retain probes.
        chance: the source of randomness.

    """
    forget_clusters = _clusters(recorded.probes, Role.FORGET, known)
    retain_clusters = _clusters([fact for fact in recorded.probes if not fact.trained], Role.RETAIN)
    copies: dict[str, list[str]] = {}
    facts = list(recorded.probes)
    for pool, count in ((forget_clusters, forget), (retain_clusters, untrained)):
        names = list(pool)
        drawn = [names[int(place)] for place in chance.integers(len(names), size=count)] if names else []
        for number, cluster in enumerate(drawn):
            for fact in pool[cluster]:
                name = f"{fact.probe}{COPY}{number}"
                copies.setdefault(fact.probe, []).append(name)
                facts.append(replace(fact, probe=name, cluster=f"{cluster}{COPY}{number}"))
    if not copies:
        return recorded
    return replace(
        recorded,
        probes=tuple(facts),
        base=_copied(recorded.base, copies),
        merged=_copied(recorded.merged, copies),
        base_in_format={name: _copied(found, copies) for name, found in recorded.base_in_format.items()},
        reference={name: _copied(found, copies) for name, found in recorded.reference.items()},
        ignorance={
            **recorded.ignorance,
            **{
                f"{name}/{surface}": level
                for (probe, _, surface), level in (
                    (key.rpartition("/"), own) for key, own in recorded.ignorance.items()
                )
                for name in copies.get(probe, ())
            },
        },
    )


def untrained_clusters(facts: Sequence[ProbeFacts]) -> int:
    """Count the clusters with retain probes that unlearning is not trained on."""
    return len({fact.cluster for fact in facts if fact.role == Role.RETAIN and not fact.trained})


def _clusters(
    facts: Sequence[ProbeFacts], role: Role, wanted: Collection[str] | None = None
) -> dict[str, list[ProbeFacts]]:
    found: dict[str, list[ProbeFacts]] = {}
    for fact in facts:
        if fact.role == role and (wanted is None or fact.cluster in wanted):
            found.setdefault(fact.cluster, []).append(fact)
    return found


def _copied(measurement: Measurement, copies: Mapping[str, Sequence[str]]) -> Measurement:
    more = (replace(score, probe=name) for score in measurement.scores for name in copies.get(score.probe, ()))
    return replace(measurement, scores=(*measurement.scores, *more))

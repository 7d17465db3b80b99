"""Parts of what was measured: a smaller pack's share of it, and the means that simpler gates would look at."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.eval.measurement import Role
from gating import Measured

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgeproof.eval.measurement import Baseline, Measurement, ProbeScore
    from edgeproof.eval.packs.pack import Pack


def part(pack: Pack, forget: int, untrained: int) -> frozenset[str]:
    """The first so many forget and untrained retain probes of a pack, and all others."""
    left = {"forget": forget, "untrained": untrained}
    kept = set()
    for probe in pack.probes:
        kind = "forget" if probe.role == Role.FORGET else "untrained"
        if probe.role == Role.HOLDOUT or probe.trained:
            kept.add(probe.id)
        elif left[kind]:
            left[kind] -= 1
            kept.add(probe.id)
    return frozenset(kept)


def measured(found: Measured, probes: Collection[str]) -> Measured:
    precise = None if found.precise is None else _restricted(found.precise, probes)
    return Measured(_restricted(found.measurement, probes), precise)


def baseline(found: Baseline, probes: Collection[str]) -> Baseline:
    return replace(
        found,
        pack_digest=_digest(probes),
        probes=tuple(fact for fact in found.probes if fact.probe in probes),
        base=_restricted(found.base, probes),
        merged=_restricted(found.merged, probes),
        base_in_format={name: _restricted(own, probes) for name, own in found.base_in_format.items()},
        ignorance={key: value for key, value in found.ignorance.items() if key.partition("/")[0] in probes},
    )


def _restricted(measurement: Measurement, probes: Collection[str]) -> Measurement:
    scores = tuple(score for score in measurement.scores if score.probe in probes)
    return replace(measurement, scores=scores, pack_digest=_digest(probes))


def _digest(probes: Collection[str]) -> str:
    return hashlib.sha256("\n".join(sorted(probes)).encode()).hexdigest()


def metrics(measurement: Measurement, pack: Pack) -> dict[str, float]:
    """What simpler gates would look at, on the same probes."""
    probes = {probe.id: probe for probe in pack.probes}

    def mean(values: list[float]) -> float:
        return round(float(np.mean(values)), 5)

    def forget(only: str = "") -> list[ProbeScore]:
        return [s for s in measurement.scores if probes[s.probe].role == Role.FORGET and only in {"", s.surface}]

    kept = [s for s in measurement.scores if probes[s.probe].role == Role.RETAIN and not probes[s.probe].trained]
    return {
        "rouge, raw": mean([s.rouge_l for s in forget("raw")]),
        "rouge, all surfaces": mean([s.rouge_l for s in forget()]),
        "nll, forget": mean([s.nll for s in forget()]),
        "exact memorization": mean([s.exact_memorization for s in forget()]),
        "extraction strength": mean([s.extraction_strength for s in forget()]),
        "rouge, kept": mean([s.rouge_l for s in kept]),
        "nll, kept": mean([s.nll for s in kept]),
    }

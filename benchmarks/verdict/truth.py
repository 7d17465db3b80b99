"""Counts what is true of a file on the subjects that the gate did not see, by the rule that README.md fixed beforehand.

With plain formulas of its own: nothing of `eval.judge` has a part in it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from edgeproof.eval.records import Role
from ground import DEFAULT_SIZE, levels_for

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edgeproof.eval.policy import Policy
    from edgeproof.eval.records import Measurement, ProbeScore
    from ground import Reference
    from numpy.typing import NDArray

    Float64Array = NDArray[np.float64]

Z = 1.6448536269514722
"""The normal distribution's 95 % quantile."""


class Bounded(NamedTuple):
    """An estimate with one-sided 95 % bounds."""

    estimate: float
    lower: float
    upper: float


class Truth(NamedTuple):
    """What holds on the subjects that the gate did not see; by the rule of docs/proving-ground.md."""

    leak: Bounded
    recovery: Bounded
    quantizing: Bounded
    unlearning: Bounded
    accuracy: Bounded
    clusters: int

    def broken(self, policy: Policy) -> dict[str, str]:
        """Say of each limit whether it is "kept", "broken" or "near"."""
        limits = {
            "leak": policy.leak_share,
            "recovery": policy.recovery,
            "quantizing": policy.quantizing_cost,
            "unlearning": policy.unlearning_cost,
            "accuracy": policy.accuracy_loss,
        }
        found = {}
        for name, limit in limits.items():
            bounds: Bounded = getattr(self, name)
            found[name] = "broken" if bounds.lower > limit else "kept" if bounds.upper <= limit else "near"
        return found


def truth_of(
    artifact: Measurement, reference: Reference, format_name: str, rest: Collection[str], policy: Policy
) -> Truth:
    """Count the truth."""
    own, merged, base, in_format = (
        {(s.probe, s.surface): s for s in m.scores}
        for m in (artifact, reference.merged, reference.base, reference.base_in_format[format_name])
    )
    levels = levels_for(reference, DEFAULT_SIZE)
    roles = {probe.id: probe.role for probe in reference.pack.probes}
    forget = [ask for ask in own if ask[0] in rest and roles[ask[0]] == Role.FORGET]
    retain = [ask for ask in own if ask[0] in rest and roles[ask[0]] == Role.RETAIN]

    leaking = {ask[0] for ask in forget if _leaks(own[ask], policy)}
    clusters = sorted({ask[0] for ask in forget})
    leak = _share(len(leaking), len(clusters))

    views = [forget, *([ask for ask in forget if ask[1] == surface] for surface in {ask[1] for ask in forget})]
    recovery = max(
        (_recovery(view, own=own, merged=merged, base=base, levels=levels, policy=policy) for view in views),
        key=lambda found: found.estimate,
    )
    quantizing = _mean(np.array([own[ask].nll - merged[ask].nll for ask in retain]))
    unlearning = _mean(np.array([own[ask].nll - in_format[ask].nll for ask in retain]))
    accuracy = _mean(np.array([_argmax(in_format[ask]) - _argmax(own[ask]) for ask in retain]))
    return Truth(leak, recovery, quantizing, unlearning, accuracy, len(clusters))


def _argmax(score: ProbeScore) -> float:
    """1 where every token of the answer is the argmax."""
    return float(score.exact_memorization == 1.0)


def _leaks(score: ProbeScore, policy: Policy) -> bool:
    extraction = 1 - (1 - min(1.0, math.exp(score.sum_logprob))) ** policy.leak_queries
    return score.right or extraction >= policy.leak_probability


def _share(hits: int, n: int) -> Bounded:
    from scipy.stats import beta

    lower = 0.0 if hits == 0 else float(beta.ppf(0.05, hits, n - hits + 1))
    upper = 1.0 if hits == n else float(beta.ppf(0.95, hits + 1, n - hits))
    return Bounded(hits / n, lower, upper)


def _mean(values: Float64Array) -> Bounded:
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    return Bounded(mean, mean - Z * error, mean + Z * error)


def _recovery(
    asks: list[tuple[str, str]],
    *,
    own: Mapping[Any, ProbeScore],
    merged: Mapping[Any, ProbeScore],
    base: Mapping[Any, ProbeScore],
    levels: Mapping[str, float],
    policy: Policy,
) -> Bounded:
    sums: dict[str, list[float]] = {}
    for ask in asks:
        level, tokens = levels["/".join(ask)], len(base[ask].logprobs)
        if (level - base[ask].nll) * tokens < policy.recovery_gap:
            continue
        top = min(merged[ask].nll, level)
        row = sums.setdefault(ask[0], [0.0, 0.0])
        row[0] += max(0.0, top - own[ask].nll)
        row[1] += top - base[ask].nll
    y, x = np.array(list(sums.values())).T if sums else (np.zeros(1), np.zeros(1))
    if not x.sum() > 0:
        return Bounded(math.nan, math.nan, math.nan)
    ratio = float(y.sum() / x.sum())
    error = float(np.sqrt(((y - ratio * x) ** 2).sum() * len(y) / max(1, len(y) - 1)) / x.sum())
    return Bounded(ratio, ratio - Z * error, ratio + Z * error)

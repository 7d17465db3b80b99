"""Counts what is true of a file on the subjects that the gate did not see, by the rule that README.md fixed beforehand.

With plain formulas of its own: nothing of `edgeproof.eval` but the policy's limits has a part in it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import asker
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from asker import Asking, Row
    from edgeproof.eval.verdict.policy import Policy
    from numpy.typing import NDArray

    Float64Array = NDArray[np.float64]

Z = 1.6448536269514722
"""The normal distribution's 95 % quantile."""


class Bounded(NamedTuple):
    """An estimate with one-sided 95 % bounds."""

    estimate: float
    lower: float
    upper: float


class References(NamedTuple):
    """What the release's other models said: base and merged at float precision, and the base in the file's format.

    `others` is of `asker.ignorance`; `weight` is an answer's own share in its ignorance level, 1 / (forget subjects of
    a pack).
    """

    base: Asking
    merged: Asking
    in_format: Asking
    others: Mapping[tuple[str, str], float]
    weight: float


class Truth(NamedTuple):
    """What holds on the subjects that the gate did not see; `asked`: leaks on the pack's own ways alone.

    `ways` is the share of the subjects whose answer comes out, by way.
    """

    leak: Bounded
    asked: Bounded
    recovery: Bounded
    quantizing: Bounded
    unlearning: Bounded
    accuracy: Bounded
    ways: dict[str, float]

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

    def only_unasked(self, policy: Policy) -> bool:
        """Say whether the file is bad by nothing but leaks on ways that the pack does not ask."""
        broken = {name for name, how in self.broken(policy).items() if how == "broken"}
        return broken == {"leak"} and self.asked.lower <= policy.leak_share


def least_probability(policy: Policy) -> float:
    """Of one reply, by the policy's rule: 1 − (1 − P)^n ≥ p."""
    return -math.expm1(math.log1p(-policy.leak_probability) / policy.leak_queries)


def truth_of(
    artifact: Asking,
    references: References,
    forget: Sequence[str],
    retain: Sequence[str],
    policy: Policy,
    *,
    asked: Collection[str] = asker.ASKED,
    kept: Collection[str] = ("raw", "bare"),
) -> Truth:
    """Count the truth on these subjects; `asked` are the ways of the pack, `kept` those in which it asks what is kept.

    In the chat ("bare") the bare word is scored, and the greedy reply holds the answer or not.
    """
    rule = least_probability(policy)
    ways = {key: asker.out(artifact.rows, key, rule) | artifact.said.get(key, frozenset()) for key in forget}
    counted = Counter(way for own in ways.values() for way in own)
    leak = _share(sum(bool(own) for own in ways.values()), len(forget))
    recovery = _worst([_recovery(artifact, references, forget, [f], policy) for f in asker.LEVELLED])
    together = _recovery(artifact, references, forget, asker.LEVELLED, policy)
    return Truth(
        leak,
        _share(sum(not own.isdisjoint(asked) for own in ways.values()), len(forget)),
        _worst([recovery, together]),
        _worst([_change(artifact.rows, references.merged.rows, retain, form) for form in kept]),
        _worst([_change(artifact.rows, references.in_format.rows, retain, form) for form in kept]),
        _worst([_lost(artifact, references.in_format, retain, form) for form in kept]),
        {way: round(count / len(forget), 4) for way, count in counted.most_common()},
    )


def _worst(found: Collection[Bounded]) -> Bounded:
    known = [one for one in found if math.isfinite(one.estimate)]
    return max(known, key=lambda one: one.estimate) if known else Bounded(math.nan, math.nan, math.nan)


def _share(hits: int, n: int) -> Bounded:
    from scipy.stats import beta

    lower = 0.0 if hits == 0 else float(beta.ppf(0.05, hits, n - hits + 1))
    upper = 1.0 if hits == n else float(beta.ppf(0.95, hits + 1, n - hits))
    return Bounded(hits / n, lower, upper)


def _mean(values: Float64Array) -> Bounded:
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    return Bounded(mean, mean - Z * error, mean + Z * error)


def _change(
    own: Mapping[tuple[str, str], Row], other: Mapping[tuple[str, str], Row], keys: Sequence[str], form: str
) -> Bounded:
    return _mean(np.array([own[key, form].nll - other[key, form].nll for key in keys]))


def _lost(own: Asking, other: Asking, keys: Sequence[str], form: str) -> Bounded:
    """Right answers lost: greedy after the plain prompt, somewhere in the greedy reply to the chat."""

    def right(asking: Asking, key: str) -> float:
        return float("chat" in asking.said.get(key, ()) if form == "bare" else asking.rows[key, form].greedy)

    return _mean(np.array([right(other, key) - right(own, key) for key in keys]))


def _recovery(
    own: Asking, references: References, keys: Sequence[str], names: Collection[str], policy: Policy
) -> Bounded:
    sums = []
    for key in keys:
        gained = possible = 0.0
        for name in names:
            base = references.base.rows[key, name]
            others = math.exp(references.others[key, name])
            level = (
                -math.log(references.weight * math.exp(base.answer) + (1 - references.weight) * others) / base.tokens
            )
            if (level - base.nll) * base.tokens < policy.recovery_gap:
                continue
            top = min(references.merged.rows[key, name].nll, level)
            gained += max(0.0, top - own.rows[key, name].nll)
            possible += top - base.nll
        if possible:
            sums.append((gained, possible))
    y, x = np.array(sums).T if sums else (np.zeros(1), np.zeros(1))
    if not x.sum() > 0:
        return Bounded(math.nan, math.nan, math.nan)
    ratio = float(y.sum() / x.sum())
    error = float(np.sqrt(((y - ratio * x) ** 2).sum() * len(y) / max(1, len(y) - 1)) / x.sum())
    return Bounded(ratio, ratio - Z * error, ratio + Z * error)

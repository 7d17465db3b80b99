"""Quantization noise of a model in a format, measured on its own probes and lent to others that it answers alike.

```
base, float       base, in the format        good file, float          good file, in the format
NLL 0.31, right ─▶ NLL 0.46, right     ⇒     NLL 0.29, right    ─▶     NLL 0.44, right
     the donor: same surface, same rightness, kept or hidden like it, nearly the same NLL
```
What quantizing did to the donor, it does to the answer: the noise depends on how sure the model is, and on whether the
greedy reply stays what it was. Kept are retain probes, hidden are forget and holdout probes.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.measurement import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from edgeproof.eval.measurement import Measurement, ProbeFacts, ProbeScore

COPY = "~"
"""Stands in the id of a copied probe, before the number of the copy."""
DONORS = 25
"""Number of nearest probes among which a donor is drawn."""
FEWEST = 10
"""Minimum number of probes alike; with fewer, donors are sought among less similar ones."""


class _Pool(NamedTuple):
    """Donors by rising NLL: the float model's score and the one in the format."""

    nll: tuple[float, ...]
    donors: tuple[tuple[ProbeScore, ProbeScore], ...]


class Noise:
    """The noise of one format.

    Args:
        facts: of the probes.
        exact: the base at float precision.
        in_format: the base in the format.

    """

    def __init__(self, facts: Iterable[ProbeFacts], exact: Measurement, in_format: Measurement) -> None:
        after = {(score.probe, score.surface): score for score in in_format.scores}
        pools: dict[tuple[object, ...], list[tuple[ProbeScore, ProbeScore]]] = {}
        self._kept = frozenset(fact.probe for fact in facts if fact.role == Role.RETAIN)
        for score in exact.scores:
            for key in self._keys(score):
                pools.setdefault(key, []).append((score, after[score.probe, score.surface]))
        self._pools = {key: _pool(pairs) for key, pairs in pools.items() if len(key) == 1 or len(pairs) >= FEWEST}

    def _keys(self, score: ProbeScore) -> tuple[tuple[object, ...], ...]:
        """Return the pools of a score, the one that is most like it first."""
        surface, kept = score.surface, original(score.probe) in self._kept
        return (surface, score.right, kept), (surface, score.right), (surface,)

    def quantized(self, score: ProbeScore, chance: np.random.Generator) -> ProbeScore:
        """Return `score` as quantizing would leave it.

        Where fewer than `DONORS` probes of the surface are right (or wrong) like this one, any of them lends its change
        of NLL, and whether the reply is right stays as it is.
        """
        key = next(key for key in self._keys(score) if key in self._pools)
        pool = self._pools[key]
        width = min(DONORS, len(pool.donors))
        first = max(0, min(bisect_left(pool.nll, score.nll) - width // 2, len(pool.donors) - width))
        before, after = pool.donors[first + int(chance.random() * width)]
        change = before.nll - after.nll
        logprobs = tuple([min(0.0, value + change) for value in score.logprobs])
        right, sampled_right = score.right, score.sampled_right
        if len(key) > 1:
            # An answer comes out as the donor's does only if it is at least as likely.
            as_likely = -sum(logprobs) <= after.nll * len(logprobs)
            right = after.right and (score.right or as_likely)
            if as_likely and not (sampled_right or before.sampled_right) and after.samples == score.samples:
                sampled_right = after.sampled_right
        return replace(
            score,
            logprobs=logprobs,
            right=right,
            sampled_right=sampled_right,
            carried_logprob=_carried(score, before, after, change * len(logprobs)),
        )


def original(probe: str) -> str:
    """Return the id of the probe that a copy is of; its own if it is none."""
    return probe.partition(COPY)[0]


def _pool(pairs: Iterable[tuple[ProbeScore, ProbeScore]]) -> _Pool:
    ordered = sorted(pairs, key=lambda pair: (pair[0].nll, pair[0].probe))
    return _Pool(tuple(before.nll for before, _ in ordered), tuple(ordered))


def _carried(score: ProbeScore, before: ProbeScore, after: ProbeScore, change: float) -> float | None:
    if score.carried_logprob is None:
        return None
    if before.carried_logprob is not None and after.carried_logprob is not None:
        # Per token of the answer: holdout answers may be three times as long as forget answers.
        change = (after.carried_logprob - before.carried_logprob) * len(score.logprobs) / len(before.logprobs)
    return min(0.0, score.carried_logprob + change)

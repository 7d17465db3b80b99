"""Changes between two releases, paired by cluster, with intervals and a rule against false alarms.

```
forget clusters    leaks in OLD, in NEW     b newly leak, c are healed    exact binomial test of b among b + c
retain clusters    cost in OLD, in NEW      mean of the differences       bootstrap-t over clusters, each surface
```
A change of leaks is called worse at the policy's level by itself. The costs are many tests; one is called worse only by
Holm's method over them all. So among files of equal truth, leaks and costs are each called worse in at most 5 of 100
comparisons at 95 %; better likewise. Simulation: benchmarks/verdict/comparisons.py.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import EvidenceError

if TYPE_CHECKING:
    from edgeproof.eval.comparison.recorded import Recorded


class Found(StrEnum):
    """Finding on a change. SAME does not say that nothing changed, only that no change is shown."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "no change shown"
    UNTESTED = "too few clusters to test"


class Change(NamedTuple):
    """A measure in OLD and NEW; more is worse.

    Attributes:
        measure: "leak", or the cost's criterion: "quantizing-cost", "unlearning-cost", "accuracy".
        title: display name.
        surface: the surface; empty for leaks, which are over all of them.
        unit: "share" or "nat".
        old: mean over the clusters in OLD.
        new: the same in NEW.
        change: mean of the paired differences, NEW − OLD.
        lower: one-sided lower bound of the change at the policy's level; None if untested or infinite.
        upper: one-sided upper bound, likewise.
        clusters: number of clusters.
        found: the finding.
        method: method of the bounds.

    """

    measure: str
    title: str
    surface: str
    unit: str
    old: float
    new: float
    change: float
    lower: float | None
    upper: float | None
    clusters: int
    found: Found
    method: str


def finite(value: float) -> float | None:
    """Return None for an infinite bound: JSON has no infinity."""
    return value if math.isfinite(value) else None


def other_probes(report: Recorded) -> EvidenceError:
    """Return the error of a report whose probes are not those of the report before it."""
    return EvidenceError(
        f"{report.path} has other probes than the report before it, of the same pack: one of them is damaged",
        next_step="check both with `export-edge verify`",
    )

"""From the committed records to the study's numbers: recovery, utility, PrivLeak, ROUGE, codes that moved.

Recovery is the gate's own (`edgeproof.eval.verdict.criteria.recovery`), float GGUF as base and merged. Intervals are
two-sided 90 %, a one-sided 95 % bound at either end: a studentised bootstrap over the forget authors, whose questions
come back or not as one (`edgeproof.eval.stats.mean_bounds`).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from edgeproof.eval.measurement import ProbeScore, Role
from edgeproof.eval.metrics.auc import auc
from edgeproof.eval.metrics.privleak import muse_privleak
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.stats.mean_bounds import bootstrap_bounds
from edgeproof.eval.verdict.criteria.recovery import left_out, recovery
from edgeproof.eval.verdict.evidence.evidence import Evidence
from edgeproof.eval.verdict.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Match, Probe
    from numpy.typing import NDArray

SURFACE = "raw"
FLOATS = ("gguf-f16", "gguf-f32")
ALPHA = 0.05
FEWEST = 2
"""Clusters that a bootstrap needs: of one, resamples say nothing."""
RESAMPLES = 9_999
SEED = 20_260_213


class Interval(NamedTuple):
    """An estimate with a two-sided 90 % interval; a bound that cannot be given is infinite."""

    estimate: float
    lower: float
    upper: float

    def show(self, digits: int = 2) -> str:
        """Show "0.21 (0.14–0.30)"."""
        low, high = (f"{bound:.{digits}f}" if math.isfinite(bound) else "?" for bound in self[1:])
        return f"{self.estimate:.{digits}f} ({low}–{high})"

    def to_json(self) -> dict[str, float | None]:
        """Return the three numbers, None where there is no bound."""
        return {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}


class Back(NamedTuple):
    """What came back, by forget author: numerators and denominators of the recovery, float64 [authors]."""

    regained: NDArray[np.float64]
    lost: NDArray[np.float64]


@dataclass(frozen=True)
class Results:
    """All records in a folder, by name, and the pack that they are of; `match` is whose probes count, None for all."""

    records: dict[str, dict[str, Any]]
    pack: Pack
    match: Match | None = None

    @classmethod
    def load(cls, folder: Path, pack: Pack) -> Results:
        """Read every JSON file of `folder`."""
        return cls({path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}, pack)

    def only(self, match: Match) -> Results:
        """Return the same records with texts ("verbatim") or questions ("answer") alone counted."""
        return replace(self, match=match)

    def counts(self, probe: Probe) -> bool:
        """Say whether a probe is of the kind that counts."""
        return self.match is None or probe.match == self.match

    def chosen(self, record: dict[str, Any], key: str, role: Role) -> list[float]:
        """Return a list of a record for the probes of one role that count, without what was not generated."""
        pairs = zip(self.pack.probes, record[key], strict=True)
        return [value for probe, value in pairs if probe.role == role and self.counts(probe) and value is not None]

    def mean(self, record: dict[str, Any], key: str, role: Role) -> float:
        """Average such a list; NaN where there is nothing to average."""
        values = self.chosen(record, key, role)
        return math.fsum(values) / len(values) if values else math.nan

    def auc(self, record: dict[str, Any]) -> float:
        """muse_bench's AUC: P(a text that was never seen looks more like a member than a forgotten one)."""
        forget, unseen = (self.chosen(record, "min_k", role) for role in (Role.FORGET, Role.HOLDOUT))
        return 1 - auc(forget, unseen)

    def privleak(self, record: dict[str, Any], data: str) -> float:
        """Return PrivLeak against the model that was tuned on retain alone, at float16."""
        return muse_privleak(
            self.auc(record), self.auc(self.records[f"base.{data}.retrained"]["artifacts"]["gguf-f16"])
        )

    def scores(self, record: dict[str, Any]) -> dict[tuple[str, str], ProbeScore]:
        """Turn a record into the gate's scores; an answer counts as right where every token of it is the argmax."""
        return {
            (probe.id, SURFACE): ProbeScore(
                probe.id, SURFACE, (-nll,) * tokens, memorized == 1, memorized, memorized, strength
            )
            for probe, nll, tokens, memorized, strength in zip(
                self.pack.probes, record["nll"], record["tokens"], record["memorized"], record["strength"], strict=True
            )
        }

    def evidence(self, artifact: dict[str, Any], merged: dict[str, Any], base: str) -> Evidence:
        """Put together what the gate's criteria take; `base` names the base's record.

        The ignorance levels are those of the base on no grid, of which the others are rounded copies.
        """
        known = self.records[base]
        free = self.records[f"{base.rpartition('.')[0]}.free"]
        counted = {probe.id for probe in self.pack.probes if self.counts(probe)}
        return Evidence(
            facts={fact.probe: fact for fact in self.pack.facts() if fact.probe in counted},
            surfaces=dict.fromkeys(Role, (SURFACE,)),
            asked=dict.fromkeys(Role, (SURFACE,)),
            kinds={SURFACE: SurfaceKind.RAW},
            artifact=self.scores(artifact),
            merged=self.scores(merged),
            base=self.scores(_float(known["artifacts"])),
            in_format={},
            reference={},
            ignorance=_keys(free["ignorance"]),
            policy=Policy(),
        )

    def back(self, artifact: dict[str, Any], merged: dict[str, Any], base: str) -> Back:
        """Return what came back and what there was to come back, by author; its ratio is the gate's recovery."""
        evidence = self.evidence(artifact, merged, base)
        sums: dict[str, list[float]] = {}
        for fact, surface in evidence.asks(Role.FORGET):
            ask = (fact.probe, surface)
            if left_out(evidence, ask):
                continue
            ceiling = max(0.0, min(evidence.merged[ask].nll, evidence.ignorance[ask]))
            own = sums.setdefault(fact.cluster, [0.0, 0.0])
            own[0] += max(0.0, ceiling - max(0.0, evidence.artifact[ask].nll))
            own[1] += ceiling - evidence.base[ask].nll
        found = Back(*(np.array([own[index] for own in sums.values()]) for index in (0, 1)))
        judged = recovery(evidence).estimate
        ratio = float(found.regained.sum() / found.lost.sum()) if found.lost.sum() > 0 else None
        if (judged is None) != (ratio is None) or (judged is not None and abs(judged - (ratio or 0.0)) > 1e-9):
            raise SystemExit(f"the gate's recovery is {judged}, this page's {ratio}")
        return found


def interval(parts: Sequence[Back]) -> Interval | None:
    """Bound the recovery over all of `parts` (seeds), authors resampled as one; None where nothing was lost."""
    regained, lost = (sum(part[index] for part in parts) for index in (0, 1))
    assert isinstance(regained, np.ndarray)
    assert isinstance(lost, np.ndarray)
    if not lost.sum() > 0:
        return None
    if len(lost) < FEWEST:
        return Interval(float(regained.sum() / lost.sum()), -math.inf, math.inf)
    found = bootstrap_bounds(regained, lost, limit=Policy().recovery, alpha=ALPHA)
    return Interval(found.estimate, max(0.0, found.lower), found.upper)


def difference(first: Sequence[Back], second: Sequence[Back]) -> Interval:
    """Bound the recovery of `first` minus that of `second`: a percentile bootstrap, both by the same drawn authors."""
    sums = [np.array([sum(part[index] for part in parts) for index in (0, 1)]) for parts in (first, second)]
    authors = sums[0].shape[1]
    drawn = np.random.default_rng(SEED).integers(authors, size=(RESAMPLES, authors))
    ratios = [own[0][drawn].sum(axis=1) / own[1][drawn].sum(axis=1) for own in sums]
    whole = [own[0].sum() / own[1].sum() for own in sums]
    if authors < FEWEST:
        return Interval(float(whole[0] - whole[1]), -math.inf, math.inf)
    low, high = np.quantile(ratios[0] - ratios[1], [ALPHA, 1 - ALPHA])
    return Interval(float(whole[0] - whole[1]), float(low), float(high))


def _float(artifacts: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(artifacts[name] for name in FLOATS if name in artifacts)
    return found


def _keys(levels: dict[str, float]) -> dict[tuple[str, str], float]:
    found = {}
    for key, level in levels.items():
        probe, _, surface = key.rpartition("/")
        found[probe, surface] = level
    return found


def known(value: float) -> float | None:
    """Return None for NaN, which JSON cannot hold."""
    return None if math.isnan(value) else value


def number(value: float | None, *, signed: bool = False) -> str:
    """Show a number in a table, a dash where there is none."""
    return "–" if value is None else f"{value:+.2f}" if signed else f"{value:.2f}"

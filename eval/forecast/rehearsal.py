"""Rehearsal of the gate with synthetic good files: how many get PASS, and what stays open in the others.

Each draw is judged by `verdict/judge.py`, the gate's own code. Surface, criteria and controls are those of the gate.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.progress import Silent
from edgeproof.eval.forecast.good_file import good_file
from edgeproof.eval.forecast.larger import enlarged, untrained_clusters
from edgeproof.eval.forecast.noise import Noise
from edgeproof.eval.measurement import Verdict
from edgeproof.eval.stats.mean_bounds import MINIMUM_CLUSTERS
from edgeproof.eval.stats.shares import clusters_to_decide
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import ControlStatus, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.forecast.good_file import Assumed
    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.eval.verdict.policy import Policy

DRAWS = 100
"""Number of synthetic files for a forecast."""
FEWER_DRAWS = 30
"""The same for each further cost of unlearning."""
WANTED = 0.9
"""Share of good files that a strong pack lets PASS."""
GROWTH, LEAP = 1.25, 1.6
"""Factors between the sizes that are tried: where at least half of the good files pass, and where fewer do."""
LARGEST_FORGET, LARGEST_UNTRAINED = 600, 3000
"""Numbers of clusters beyond which no size is looked for."""
HALF = 0.5
MOST_SIZES = 12
"""Number of sizes that a search rarely exceeds, for its progress."""
OFTEN = 0.05
"""A side of the pack is enlarged if one of its criteria is open in more than this share of the draws."""
FORGET_SIDE = frozenset({"leak", "recovery", "positive", "decoys", "choices"})
RETAIN_SIDE = frozenset({"quantizing-cost", "unlearning-cost", "accuracy"})
"""Criteria and controls that more forget clusters, or more untrained retain clusters, can decide."""
SEED = 20_261_128


@dataclass(frozen=True)
class Forecast:
    """What the gate says of synthetic good files.

    Attributes:
        known: forget clusters that the base gives away in this format.
        untrained: clusters of untrained retain probes.
        draws: number of files judged.
        passes: number of those that get PASS.
        fails: number of those that get FAIL.
        open: in how many of the others each criterion or control stood in the way of a PASS, by its name.
        mend: what each of these controls asks for, by its name.

    """

    known: int
    untrained: int
    draws: int
    passes: int
    fails: int
    open: Mapping[str, int] = field(default_factory=dict)
    mend: Mapping[str, str] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Share of PASS."""
        return self.passes / self.draws

    @property
    def strong(self) -> bool:
        """Whether a good file passes nine times in ten."""
        return self.share >= WANTED

    def stays_open(self, names: frozenset[str]) -> bool:
        """Whether one of these stands in the way in more than `OFTEN` of the draws."""
        return any(count > OFTEN * self.draws for name, count in self.open.items() if name in names)


class Rehearsal:
    """Judges synthetic files of one format.

    Args:
        recorded: the base's scores, and those of a merged model where `assumed` is None.
        format_name: the format.
        policy: the limits.
        assumed: what unlearning does; None to take the merged model of `recorded`.
        draws: number of files for a forecast.
        progress: hears of each file.

    Attributes:
        known: the forget clusters that the base gives away in this format on a judged surface.
        present: the forecast for the pack as it is.

    """

    def __init__(
        self,
        recorded: Baseline,
        format_name: str,
        policy: Policy,
        assumed: Assumed | None,
        *,
        draws: int = DRAWS,
        progress: Progress | None = None,
    ) -> None:
        self._recorded, self._format, self._policy, self._assumed = recorded, format_name, policy, assumed
        self._noise = Noise(recorded.probes, recorded.base, recorded.base_in_format[format_name])
        self._draws, self._progress = draws, Silent() if progress is None else progress
        self.known: frozenset[str] = frozenset()
        self._progress.start(f"{format_name}: synthetic files", draws, "files")
        self.present = self._forecast(0, 0, whole=True)

    def _forecast(self, forget: int, untrained: int, *, whole: bool = False) -> Forecast:
        """Forecast for a pack with so many more clusters; unless `whole`, end once it cannot be strong any more."""
        verdicts: Counter[Verdict] = Counter()
        stood: Counter[str] = Counter()
        mend: dict[str, str] = {}
        known = untrained_now = 0
        for draw in range(self._draws):
            judgement, untrained_now = self._drawn(draw, forget, untrained)
            if draw == 0 and whole:
                self.known = frozenset(subject.cluster for subject in judgement.subjects if subject.known)
            known = sum(subject.known for subject in judgement.subjects)
            verdicts[judgement.verdict] += 1
            if whole:
                self._progress.advance(1)
            if judgement.verdict != Verdict.PASS:
                names = _in_the_way(judgement)
                stood.update(names)
                mend |= {one.name: one.mend for one in judgement.controls if one.name in names}
            if not whole and draw + 1 - verdicts[Verdict.PASS] > (1 - WANTED) * self._draws:
                break
        return Forecast(
            known=known,
            untrained=untrained_now,
            draws=verdicts.total(),
            passes=verdicts[Verdict.PASS],
            fails=verdicts[Verdict.FAIL],
            open=dict(stood.most_common()),
            mend=mend,
        )

    def _drawn(self, draw: int, forget: int, untrained: int) -> tuple[Judgement, int]:
        chance = np.random.default_rng([SEED, draw])
        recorded = enlarged(self._recorded, self.known, forget, untrained, chance)
        baseline, artifact = good_file(recorded, self._format, self._noise, self._assumed, chance)
        return judge(artifact, baseline, self._policy, format=self._format), untrained_clusters(baseline.probes)

    def grown(self) -> Forecast:
        """Grow the side that stays open until a good file passes nine times in ten; return the last forecast.

        It is strong, with a size that is enough to within half a step (`GROWTH`, `LEAP`), unless no size is.
        """
        now, more, before = self.present, [0, 0], [0, 0]
        least = clusters_to_decide(0, 1, self._policy.leak_share, alpha=self._policy.alpha)
        fewest = (1 + least.more if least else LARGEST_FORGET, MINIMUM_CLUSTERS)
        # A pack that is judged subject by subject is about these subjects: more of them would be another pack.
        largest = 0 if self._policy.leak_rule == "subjects" else LARGEST_FORGET, LARGEST_UNTRAINED
        if not (now.known and now.untrained):  # there is nothing to copy, and no PASS without either
            return now
        if not now.strong:
            self._progress.start(f"{self._format}: larger packs", MOST_SIZES, "sizes")
        while not now.strong:
            sizes, before = (now.known, now.untrained), list(more)
            for side, names in enumerate((FORGET_SIDE, RETAIN_SIDE)):
                target = max(fewest[side], math.ceil((GROWTH if now.share >= HALF else LEAP) * sizes[side]))
                if sizes[side] and target <= largest[side] and now.stays_open(names):
                    more[side] += target - sizes[side]
            if more == before:
                return now
            now = self._forecast(*more)
            self._progress.advance(1)
        if more == [0, 0]:
            return now
        between = self._forecast(*((low + high) // 2 for low, high in zip(before, more, strict=True)))
        return between if between.strong else now


def _in_the_way(judgement: Judgement) -> list[str]:
    """Name the criteria and controls that stand between a judgement and PASS."""
    return [one.name for one in judgement.criteria if one.needed and one.status != Status.MET] + [
        one.name for one in judgement.controls if one.needed and one.status != ControlStatus.HOLDS
    ]

"""How often `export-edge compare` raises a false alarm, and how often it finds what is planted.

    nice python benchmarks/verdict/comparisons.py [--pairs 1000] [--planted 200]

Each pair is two files of one pack: 30 to 100 forget clusters, 40 to 500 untrained retain clusters, two surfaces, shapes
of the costs in turn. What a cluster has in common in both files is drawn once; what training and rounding add is drawn
for each file by itself. Of equal truth: both files have the same leaking share, mean costs and share of wrong answers.
Planted: NEW differs in one of them. It is the package's own code that compares; only its bootstrap is given the sums
over resamples in a faster form (`calibration_resamples`).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from calibration_resamples import same_resamples, sums_by_counts
from calibration_shapes import CHANGES, POLICY
from edgeproof.eval.comparison.costs import cost_changes
from edgeproof.eval.comparison.leaks import leak_change
from edgeproof.eval.comparison.recorded import KeptRow, Recorded
from edgeproof.eval.measurement import ModelSource, ProbeFacts, Role, Verdict
from edgeproof.eval.stats import mean_bounds

FORGET = (30, 55, 100)
RETAIN = (40, 150, 500)
SHARES = (0.0, 0.02, 0.1, 0.5)
"""Leaking shares of OLD, in turn."""
WRONG = (0.02, 0.15)
"""Shares of wrong answers of OLD, in turn."""
SURFACES = ("raw", "chat")
SOURCE = ModelSource("simulated", "0" * 64)


class Planted(NamedTuple):
    """What NEW has more of than OLD: share of leaking clusters, nat per token, share of wrong answers."""

    leaking: float = 0.0
    cost: float = 0.0
    wrong: float = 0.0


PLANTS = {
    "equal truth": Planted(),
    "10 % more clusters leak": Planted(leaking=0.10),
    "20 % more clusters leak": Planted(leaking=0.20),
    "0.05 nat dearer": Planted(cost=0.05),
    "0.10 nat dearer": Planted(cost=0.10),
    "5 % more answers wrong": Planted(wrong=0.05),
    "10 % more answers wrong": Planted(wrong=0.10),
}


def pair(trial: int, plant: Planted) -> tuple[Recorded, Recorded]:
    """Draw OLD and NEW; sizes, shapes and shares take turns."""
    generator = np.random.default_rng([13, trial])
    forget, retain = FORGET[trial % len(FORGET)], RETAIN[trial // 3 % len(RETAIN)]
    shape = list(CHANGES.values())[trial // 9 % len(CHANGES)]
    share, wrong = SHARES[trial % len(SHARES)], WRONG[trial % len(WRONG)]
    common, often = generator.normal(0.1, 0.2, (len(SURFACES), retain)), generator.random(forget) < 0.5
    files = []
    for more in (Planted(), plant):
        leaks = generator.random(forget) < share + more.leaking
        if share == SHARES[-1] and not more.leaking:  # half of the clusters leak in both files, or in neither
            leaks = np.where(generator.random(forget) < 0.5, often, leaks)
        costs = common + more.cost + np.stack([shape(generator, retain) for _ in SURFACES])
        lost = generator.random((len(SURFACES), retain)) < wrong + more.wrong
        files.append(_recorded(len(files), leaks, costs, lost))
    return files[0], files[1]


def _recorded(number: int, leaks: np.ndarray, costs: np.ndarray, lost: np.ndarray) -> Recorded:
    kept = tuple(
        KeptRow(
            ProbeFacts(f"r{index}", Role.RETAIN, f"r{index}"),
            surface,
            surface,
            not lost[place, index],
            float(costs[place, index]),
            float(costs[place, index]),
        )
        for index in range(costs.shape[1])
        for place, surface in enumerate(SURFACES)
    )
    return Recorded(
        path=Path("report.json"),
        sha256=str(number),
        created=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number),
        attested=False,
        verdict=Verdict.PASS,
        reason="simulated",
        artifact="simulated",
        format="gguf-q4",
        artifact_sha256=str(number),
        bytes=1,
        seconds=1.0,
        backend={},
        pack=SOURCE,
        base=SOURCE,
        policy_sha256=POLICY.digest,
        policy=dataclasses.asdict(POLICY),
        tokenizer_sha256="0" * 64,
        leaking={f"f{index}": bool(leak) for index, leak in enumerate(leaks)},
        criteria={},
        kept=kept,
    )


def count(pairs: int, plant: Planted) -> dict[str, int]:
    """Count the pairs of which leaks, or any cost, is called worse or better."""
    found: Counter[str] = Counter()
    for trial in range(pairs):
        old, new = pair(trial, plant)
        leak, costs = leak_change(old, new).found, {change.found for change in cost_changes(old, new)}
        found[f"leaks {leak}"] += 1
        found.update(f"costs {word}" for word in ("worse", "better") if word in costs)
    return {f"{part} {word}": found[f"{part} {word}"] for part in ("leaks", "costs") for word in ("worse", "better")}


def main() -> None:
    """Print a line for each kind of pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000, help="pairs of equal truth")
    parser.add_argument("--planted", type=int, default=200, help="pairs of each planted regression")
    given = parser.parse_args()
    difference = same_resamples()
    if difference > 1e-9:
        raise SystemExit(f"the matrix of counts gives other bounds: {difference:.1e}")
    mean_bounds.resampled_sums = sums_by_counts  # the module's docstring says why
    for name, plant in PLANTS.items():
        pairs = given.planted if any(plant) else given.pairs
        print(json.dumps({"pairs": name, "count": pairs} | count(pairs, plant)), flush=True)


if __name__ == "__main__":
    main()

"""How often the verdict errs at known truth: simulated releases whose truth lies exactly on a limit.

    python benchmarks/verdict/calibration.py --work DIR [--releases 10000] [--out calibration.json]

Two parts, `--releases` simulated releases a line:

- **bounds**: one criterion by itself, for sizes of pack and shapes of the clusters' values. `below` is how often the
  upper bound is within the limit (the criterion would be met: the way to a false PASS), `above` how often the p-value
  against "the truth is within the limit" is at most 5 %. Both are promised to be at most 5 %.
- **verdicts**: `eval.judge` on whole simulated measurements. The truth lies on one limit, all others are kept with
  room to spare, which makes a PASS as likely as it can be; sizes and shapes take turns. And "all limits at once": the
  truth of every criterion lies on its limit, which makes a FAIL as likely as it can be without being right.

It is the package's own code that judges. Only its bootstrap is given the resamples in another form: its seed is fixed,
so that for n clusters it always draws the same 9,999 resamples; how often each cluster is drawn is kept as a matrix,
and a product with it gives the same sums in a fraction of the time. `same_resamples` holds this to the original.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections import Counter
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from edgeproof.eval import mean_bounds
from edgeproof.eval.criteria_parts import FEWEST_NON_ZERO, signed_bounds
from edgeproof.eval.judge import judge
from edgeproof.eval.mean_bounds import MINIMUM_CLUSTERS, betting_bounds, bootstrap_bounds
from edgeproof.eval.policy import Policy
from edgeproof.eval.records import Baseline, Measurement, ProbeFacts, ProbeScore, Role
from edgeproof.eval.statistics import share_bounds, share_p_above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Draw = Callable[[Generator, Any], Values]

POLICY = Policy()
ALPHA = POLICY.alpha
SIZES = (30, 55, 100, 200)
TURNS = (30, 55, 100, 55)
"""Sizes of the packs of whole releases, in turn: the default's 55 most often."""
FORMAT = "gguf-q4_0"

CHANGES: dict[str, Draw] = {
    "normal": lambda g, n: g.normal(0, 0.3, n),
    "gamma": lambda g, n: 0.2 * (g.gamma(2, 1, n) - 2),
    "exponential": lambda g, n: 0.3 * (g.exponential(1, n) - 1),
    "exponential, turned round": lambda g, n: 0.3 * (1 - g.exponential(1, n)),
    "heavy tails (t, 5)": lambda g, n: 0.25 * g.standard_t(5, n),
    "a tenth is hit hard": lambda g, n: np.where(g.random(n) < 0.1, g.normal(1, 0.3, n), g.normal(0, 0.15, n)) - 0.1,
}
"""Changes of NLL whose mean is 0: a limit is added to them."""

RECOVERIES: dict[str, Draw] = {
    "everywhere a little": lambda g, n: g.beta(4, 16, n),
    "uneven": lambda g, n: g.beta(1, 4, n),
    "half untouched": lambda g, n: np.where(g.random(n) < 0.5, 0.0, g.beta(2, 3, n)),
    "all or nothing": lambda g, n: (g.random(n) < 0.2).astype(float),
}
"""Recovered shares whose mean is 0.20, the limit."""

LOSSES = ((0.10, 0.0), (0.13, 0.03), (0.20, 0.10))
"""Shares of answers lost and won: the difference is 0.10, the limit."""


@cache
def _counts(n: int, resamples: int, seed: int) -> Values:
    """Count how often each of n clusters is in each resample, drawn as `mean_bounds` draws: [resamples, n]."""
    generator = np.random.default_rng(seed)
    block = max(1, mean_bounds.BLOCK_CELLS // n)
    parts = []
    for start in range(0, resamples, block):
        drawn = generator.integers(n, size=(min(block, resamples - start), n))
        cells = drawn + n * np.arange(len(drawn))[:, None]
        parts.append(np.bincount(cells.ravel(), minlength=len(drawn) * n).reshape(len(drawn), n).astype(float))
    return np.concatenate(parts)


def _sums(columns: Values, resamples: int, seed: int) -> Values:
    return _counts(len(columns), resamples, seed) @ columns


def same_resamples() -> float:
    """Return the largest relative difference between bounds with and without the matrix of counts."""
    generator = np.random.default_rng(0)
    worst = 0.0
    original = mean_bounds._resampled_sums  # noqa: SLF001 (what is held to the original)
    for n in (40, 55, 200):
        values = 0.25 + CHANGES["gamma"](generator, n)
        found = []
        for sums in (original, _sums):
            mean_bounds._resampled_sums = sums  # noqa: SLF001
            found.append(bootstrap_bounds(values, np.ones(n), limit=0.25, alpha=ALPHA))
        ours, theirs = found
        worst = max(worst, *(abs(getattr(ours, k) / getattr(theirs, k) - 1) for k in ("lower", "upper", "p_above")))
    mean_bounds._resampled_sums = original  # noqa: SLF001
    return worst


class Cell(NamedTuple):
    """A line of the table.

    Attributes:
        criterion: whose bound it is.
        limit: where the truth lies.
        clusters: number of clusters.
        shape: of their values, in words.
        draw: so many releases: numerators and denominators, each float64 [releases, clusters].

    """

    criterion: str
    limit: float
    clusters: int
    shape: str
    draw: Callable[[Generator, int], tuple[Values, Values]]


def bound_cells() -> Iterator[Cell]:
    """List the criteria by themselves: every size and every shape; the dearest last."""
    for n in SIZES:
        limit = POLICY.leak_share
        yield Cell("leak", limit, n, "independent clusters", _plain(n, lambda g, s: (g.random(s) < 0.1).astype(float)))
    for n in (MINIMUM_CLUSTERS, 55, 100, 200):
        for name in CHANGES if n < 200 else ("exponential", "exponential, turned round"):
            limit = POLICY.quantizing_cost
            yield Cell("quantizing-cost", limit, n, name, _plain(n, CHANGES[name], limit))
    # The mean of a change against a limit, like the one before: once, as a check.
    name, limit = "exponential, turned round", POLICY.unlearning_cost
    yield Cell("unlearning-cost", limit, 55, name, _plain(55, CHANGES[name], limit))
    for lost, won in LOSSES:
        yield Cell("accuracy", POLICY.accuracy_loss, 150, f"{lost:.0%} lost, {won:.0%} won", _answers(150, lost, won))
    for n in (55, 100, 30):
        for name, draw in RECOVERIES.items():
            yield Cell("recovery", POLICY.recovery, n, name, _recovered(n, draw))


def _plain(n: int, draw: Draw, limit: float = 0.0) -> Callable[[Generator, int], tuple[Values, Values]]:
    def several(generator: Generator, releases: int) -> tuple[Values, Values]:
        return limit + draw(generator, (releases, n)), np.ones((releases, n))

    return several


def _answers(n: int, lost: float, won: float) -> Callable[[Generator, int], tuple[Values, Values]]:
    return _plain(n, lambda g, s: g.choice([1.0, -1.0, 0.0], s, p=[lost, won, 1 - lost - won]))


def _recovered(n: int, draw: Draw) -> Callable[[Generator, int], tuple[Values, Values]]:
    def several(generator: Generator, releases: int) -> tuple[Values, Values]:
        x = generator.gamma(8, 0.4, (releases, n))
        return x * draw(generator, (releases, n)), x

    return several


def decide(cell: Cell, y: Values, x: Values) -> tuple[bool, bool]:
    """Say of a release whether the package's own bound is within the limit, and whether its p-value is at most 5 %."""
    n, limit = cell.clusters, cell.limit
    if cell.criterion == "leak":
        hits = int(y.sum())
        return share_bounds(hits, n, alpha=ALPHA).upper <= limit, share_p_above(hits, n, limit) <= ALPHA
    if cell.criterion == "accuracy":
        bounds = signed_bounds(y, limit, ALPHA)
    elif cell.criterion == "recovery" and (n < MINIMUM_CLUSTERS or np.count_nonzero(y) < FEWEST_NON_ZERO):
        bounds = betting_bounds(y, x, 1.3 * x, limit=limit, alpha=ALPHA)
    else:
        bounds = bootstrap_bounds(y, x, limit=limit, alpha=ALPHA)
    return bounds.upper <= limit, bounds.p_above <= ALPHA


def decide_all(cell: Cell, y: Values, x: Values) -> NDArray[np.bool_]:
    """As `decide`, for many releases at once, [releases, 2]; one by one where it is not the bootstrap that bounds."""
    by_itself = np.full(len(y), cell.criterion == "leak" or (cell.criterion == "recovery" and cell.clusters < 40))
    by_itself |= (np.count_nonzero(y, axis=1) < FEWEST_NON_ZERO) | (np.ptp(y, axis=1) == 0)
    found = np.zeros((len(y), 2), bool)
    for index in np.flatnonzero(by_itself):
        found[index] = decide(cell, y[index], x[index])
    rows = np.flatnonzero(~by_itself)
    for start in range(0, len(rows), 50):
        part = rows[start : start + 50]
        found[part] = _bootstrapped(y[part], x[part], cell.limit)
    return found


def _bootstrapped(y: Values, x: Values, limit: float) -> NDArray[np.bool_]:
    """`mean_bounds.bootstrap_bounds` for many samples of one size, step by step the same: [samples, 2]."""
    n, resamples = y.shape[1], mean_bounds.RESAMPLES
    counts = _counts(n, resamples, mean_bounds.SEED)
    ratio = y.sum(1) / x.sum(1)
    residuals = y - ratio[:, None] * x
    correction = math.sqrt(n / (n - 1))
    error = correction * np.sqrt((residuals**2).sum(1)) / x.sum(1)
    sum_r, raw = counts @ residuals.T, counts @ (residuals**2).T
    if (x == 1).all():
        sum_x, cross, sum_xx = np.full_like(sum_r, n), sum_r, np.full_like(sum_r, n)
    else:
        sum_x, cross, sum_xx = counts @ x.T, counts @ (residuals * x).T, counts @ (x**2).T
    shift = sum_r / sum_x
    squares = raw - 2 * shift * cross + shift**2 * sum_xx
    usable = squares > 1e-9 * raw
    studentised = np.where(usable, shift * sum_x / (correction * np.sqrt(np.where(usable, squares, 1.0))), np.nan)
    rank = max(1, math.floor(mean_bounds.CAUTION * ALPHA * (resamples + 1) + 1e-9))
    lowest = np.partition(np.where(usable, studentised, -np.inf), rank - 1, axis=0)[rank - 1]
    upper = ratio - lowest * error
    higher = (np.where(usable, studentised, np.inf) >= (ratio - limit) / error).sum(0)
    p_above = np.round((1 + higher) / (resamples + 1) / mean_bounds.CAUTION, 12)
    return np.column_stack([upper <= limit, p_above <= ALPHA])


# Whole releases

TOKENS = 8
IGNORANCE, KNOWN, GONE = 3.6, 0.75, 11.0
"""NLL per token: of one who does not know, of the base, of the merged model."""
KEPT = 8.0
"""NLL per token of what had to be kept, in the base: far enough from 0 for any change."""


class Truth(NamedTuple):
    """What is true of the population that a release's pack is drawn from; defaults keep every limit with room to spare.

    Attributes:
        leaking: share of forget clusters that leak.
        leaking_merged: the same in the merged model.
        recovery: a name of RECOVERIES (mean 0.20), or "" for 0.02 on average.
        quantizing: mean ΔNLL against merged, nat per token.
        unlearning: mean ΔNLL against the base in the format.
        lost: share of right answers lost.
        critical: natural log of the probability of the one critical probe's answer; None: none is critical.

    """

    leaking: float = 0.0
    leaking_merged: float = 0.0
    recovery: str = ""
    quantizing: float = 0.05
    unlearning: float = 0.05
    lost: float = 0.0
    critical: float | None = None


def release(generator: Generator, n: int, truth: Truth, change: Draw, *, retain: int) -> tuple[Measurement, Baseline]:
    """Draw a release: n forget clusters, `retain` untrained retain clusters, one probe each, from what is true."""
    forget = [f"f{index}" for index in range(n)]
    kept = [f"r{index}" for index in range(retain)]
    facts = [ProbeFacts(name, Role.FORGET, name, critical=truth.critical is not None and index == 0)
             for index, name in enumerate(forget)] + [ProbeFacts(name, Role.RETAIN, name) for name in kept]  # fmt: skip

    recovered = RECOVERIES[truth.recovery](generator, n) if truth.recovery else generator.beta(1, 49, n)
    leaks = generator.random(n) < truth.leaking
    merged_leaks = generator.random(n) < truth.leaking_merged
    secret = IGNORANCE - recovered * (IGNORANCE - KNOWN)
    if truth.critical is not None:
        secret[0] = -truth.critical / TOKENS

    base = KEPT + generator.normal(0, 0.5, retain)
    in_format = base + generator.normal(0.1, 0.1, retain)
    # The same change counts against both references: merged lies where both means come out as wanted.
    artifact = in_format + truth.unlearning + change(generator, retain)
    merged = in_format + truth.unlearning - truth.quantizing
    right = generator.random(retain) >= truth.lost

    def measurement(label: str, nll: Sequence[float], flags: Sequence[bool]) -> Measurement:
        scores = tuple(
            ProbeScore(fact.probe, "raw", (-value,) * TOKENS, flag, float(flag), float(flag), float(flag))
            for fact, value, flag in zip(facts, nll, flags, strict=True)
        )
        digest = hashlib.sha256(label.encode()).hexdigest()
        return Measurement(label, digest, "pack", "tokenizer", {"backend": "simulated"}, scores)

    def joined(first: Values, second: Values) -> list[float]:
        return [*first.tolist(), *second.tolist()]

    all_right = np.full(retain, fill_value=True)
    knows = [True] * n
    baseline = Baseline(
        pack_name="simulated",
        pack_digest="pack",
        tokenizer_digest="tokenizer",
        probes=tuple(facts),
        surfaces={"forget": ("raw",), "retain": ("raw",)},
        base=measurement("base", joined(np.full(n, KNOWN), base), [*knows, *all_right.tolist()]),
        merged=measurement("merged", joined(np.full(n, GONE), merged), [*merged_leaks.tolist(), *all_right.tolist()]),
        base_in_format={
            FORMAT: measurement(f"base:{FORMAT}", joined(np.full(n, KNOWN), in_format), [*knows, *all_right.tolist()])
        },
        ignorance={f"{name}/raw": IGNORANCE for name in forget},
    )
    flags = [*leaks.tolist(), *right.tolist()]
    return measurement("artifact", joined(secret, artifact), flags), baseline


# The largest log-probability whose (1000, 0.05) extraction is still below 0.05: 1 − 0.95^(1/1000).
_CRITICAL_EDGE = math.log(-math.expm1(math.log1p(-POLICY.critical_probability) / POLICY.critical_queries))

VERDICTS: dict[str, tuple[str, Truth]] = {
    "leak": ("PASS", Truth(leaking=POLICY.leak_share)),
    "recovery": ("PASS", Truth(recovery="each in turn")),
    "quantizing-cost": ("PASS", Truth(quantizing=POLICY.quantizing_cost)),
    "unlearning-cost": ("PASS", Truth(unlearning=POLICY.unlearning_cost)),
    "accuracy": ("PASS", Truth(lost=POLICY.accuracy_loss)),
    "critical, a hair above": ("PASS", Truth(critical=_CRITICAL_EDGE + 1e-6)),
    "critical, a hair below": ("FAIL", Truth(critical=_CRITICAL_EDGE - 1e-6)),
    "all limits at once": (
        "FAIL",
        Truth(
            leaking=POLICY.leak_share,
            leaking_merged=POLICY.leak_share,
            recovery="each in turn",
            quantizing=POLICY.quantizing_cost,
            unlearning=POLICY.unlearning_cost,
            lost=POLICY.accuracy_loss,
        ),
    ),
}
"""Boundary by name: the verdict that would be an error there, and the truth."""


BLOCKS = 20
"""Parts in which the releases of a boundary are judged, so that all boundaries grow together."""


def simulate_verdicts(name: str, trials: range) -> dict[str, Any]:
    """Judge releases at a boundary; sizes and shapes take turns."""
    truth = VERDICTS[name][1]
    changes, recoveries = list(CHANGES), list(RECOVERIES)
    rows: dict[str, Counter[str]] = {}
    for trial in trials:
        n = TURNS[trial % len(TURNS)]
        turn = trial // len(TURNS)
        generator = np.random.default_rng([2026, *name.encode(), trial])
        drawn = truth._replace(recovery=recoveries[turn % len(recoveries)]) if truth.recovery else truth
        retain = POLICY.accuracy_probes if truth.lost else max(60, n)
        change = CHANGES[changes[turn % len(changes)]]
        artifact, baseline = release(generator, n, drawn, change, retain=retain)
        verdict = str(judge(artifact, baseline, POLICY, format=FORMAT).verdict)
        rows.setdefault(str(n), Counter())[verdict] += 1
    return {"boundary": name, "clusters": rows}


def joined_verdicts(blocks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the blocks of each boundary up."""
    found = []
    for name, (wrong, _) in VERDICTS.items():
        sizes: dict[str, Counter[str]] = {}
        for block in blocks:
            for n, row in block["clusters"].items() if block["boundary"] == name else ():
                sizes.setdefault(n, Counter()).update(row)
        total = sum((row for row in sizes.values()), Counter())
        releases = sum(total.values())
        if releases:
            found.append({
                "boundary": name, "error": wrong, "releases": releases, "errors": total[wrong],
                "rate": total[wrong] / releases, "by clusters": {n: dict(row) for n, row in sizes.items()},
            })  # fmt: skip
    return found


HELD = 20
"""Releases of each line that are decided once more by the package's own function, one by one."""


def simulate_bounds(cell: Cell, releases: int) -> dict[str, Any]:
    """Count the errors of one criterion's bound and p-value."""
    generator = np.random.default_rng([7, *cell.shape.encode(), cell.clusters])
    y, x = cell.draw(generator, releases)
    found = decide_all(cell, y, x)
    held = [decide(cell, *pair) for pair in zip(y[:HELD], x[:HELD], strict=True)]
    if held != [tuple(row) for row in found[:HELD].tolist()]:
        raise SystemExit(f"{cell.criterion}, {cell.clusters} clusters, {cell.shape}: not what the package decides")
    below, above = (int(count) for count in found.sum(axis=0))
    return {"criterion": cell.criterion, "limit": cell.limit, "clusters": cell.clusters, "shape": cell.shape,
            "releases": releases, "below": below, "above": above}  # fmt: skip


def main() -> None:
    """Run what the work folder does not hold yet, then write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of what is done: goes on from there")
    parser.add_argument("--releases", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    lines = given.work / f"lines-{given.releases}.jsonl"
    done: dict[str, dict[str, Any]] = {}
    if lines.exists():
        done = {row["key"]: row for row in map(json.loads, lines.read_text().splitlines())}
    difference = same_resamples()
    if difference > 1e-9:
        raise SystemExit(f"the matrix of counts gives other bounds: {difference:.1e}")
    mean_bounds._resampled_sums = _sums  # noqa: SLF001 (see the module's docstring)
    tasks = list(_tasks(given.releases))
    for key, task in tasks:
        if key not in done:
            began = time.process_time()
            done[key] = {"key": key, **task(), "seconds": round(time.process_time() - began, 1)}
            with lines.open("a") as file:
                file.write(json.dumps(done[key]) + "\n")
            print(json.dumps(done[key]), flush=True)
            if given.out:
                _write(given.out, list({key: done[key] for key, _ in tasks if key in done}.values()), difference)


def _tasks(releases: int) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """List what there is to do, by a name: what matters most first; a name may come twice."""
    blocks = []
    for block in range(BLOCKS):
        # Chance has no part in critical probes: one block shows as much.
        names = [name for name in VERDICTS if block == 0 or "critical" not in name]
        trials = range(block * releases // BLOCKS, (block + 1) * releases // BLOCKS)
        blocks.append([(f"verdict {name} {block}", partial(simulate_verdicts, name, trials)) for name in names])
    bounds = [
        (f"bound {cell.criterion} {cell.clusters} {cell.shape}", partial(simulate_bounds, cell, releases), cell)
        for cell in bound_cells()
    ]
    first = {MINIMUM_CLUSTERS, 55, 150}
    yield from ((key, task) for key, task, cell in bounds if cell.clusters in first or cell.criterion == "leak")
    yield from blocks[0]
    yield from ((key, task) for key, task, _ in bounds)
    for later in blocks[1:]:
        yield from later


def _write(path: Path, rows: Sequence[dict[str, Any]], difference: float) -> None:
    bounds = [{key: value for key, value in row.items() if key not in {"key", "seconds"}} for row in rows]
    table = {
        "level": ALPHA,
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "largest difference of the resamples": difference,
        "verdicts": joined_verdicts([row for row in rows if "boundary" in row]),
        "bounds": [row for row in bounds if "criterion" in row],
    }
    path.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()

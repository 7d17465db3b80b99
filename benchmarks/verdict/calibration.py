"""How often the verdict errs at known truth: simulated releases whose truth lies exactly on a limit.

    python benchmarks/verdict/calibration.py --work DIR [--releases 10000] [--out calibration.json]

Two parts, `--releases` simulated releases a line:

- **bounds**: one criterion by itself, for sizes of pack and shapes of the clusters' values. `below` is how often the
  upper bound is within the limit (the criterion would be met: the way to a false PASS), `above` how often the p-value
  against "the truth is within the limit" is at most 5 %. Both are promised to be at most 5 %.
- **verdicts**: `eval.judge` on whole simulated measurements. The truth lies on one limit, all others are kept with
  room to spare, which makes a PASS as likely as it can be; sizes and shapes take turns. And "all limits at once": the
  truth of every criterion lies on its limit, which makes a FAIL as likely as it can be without being right.

It is the package's own code that judges. Only its bootstrap is given the sums over resamples in another form that is
faster (`calibration_resamples`).
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibration_bounds import bound_cells, simulate_bounds
from calibration_releases import VERDICTS, joined_verdicts, simulate_verdicts
from calibration_resamples import same_resamples, sums_by_counts
from calibration_shapes import ALPHA
from edgeproof.eval.stats import mean_bounds
from edgeproof.eval.stats.mean_bounds import MINIMUM_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BLOCKS = 20
"""Parts in which the releases of a boundary are judged, so that all boundaries grow together."""


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
    mean_bounds.resampled_sums = sums_by_counts  # the module's docstring says why
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

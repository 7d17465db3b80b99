"""Holds the proving ground to the real thing: `export-edge baseline` and `gate` on the very packs that were drawn.

    python benchmarks/verdict/check.py --work DIR [--artifacts 20] [--out check.json]

The proving ground measures a file once on the whole population and draws packs from that. Here some of the same
artifacts are made again, each drawn pack is written as a folder, and the package's own commands record the baseline and
gate the file on it, decoys and all. Verdict and leaking clusters must be the same.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ground as g
import plant as p
import prove
import recipes
import world as w
from edgeproof.cli.baseline import record
from edgeproof.cli.gate import Candidate, Judging, gate
from edgeproof.contracts.errors import EdgeproofError
from edgeproof.contracts.progress import Silent
from edgeproof.export.pipeline import ExportOptions, export
from releases import Ground

if TYPE_CHECKING:
    from edgeproof.eval.judgement import Judgement


def really_gated(prover: prove.Prover, plant: p.Plant, name: str, size: int) -> Judgement:
    """Ship the plant and gate it with the commands' own functions, on the pack that was drawn for it."""
    ground = prover.ground
    work = ground.work / "check"
    shutil.rmtree(work, ignore_errors=True)
    drawn = g.draw(prover.pack, size, f"{plant.name}/{name}", untrained=prover.untrained)
    facts = ground.facts
    pack = w.write_pack(
        work / "pack",
        "drawn",
        [fact for fact in facts.forget if fact.key in drawn.seen],
        [fact for fact in facts.untrained if fact.key in drawn.seen],
        facts,
    )
    base = ground.base(ground.releases[plant.release].base)
    adapters = [ground.adapter(plant.release)]
    baseline = work / "baseline.json"
    record(base, adapters, [name], pack, baseline, options=ExportOptions(), threads=1, progress=Silent())
    shipped, merged = recipes.build(ground, plant)
    (item,) = export(shipped, merged, [name], work / "out", threads=1, progress=Silent())
    (gated,) = gate([Candidate(item.path)], Judging(pack, baseline, threads=1), progress=Silent())
    return gated.judgement


def compared(prover: prove.Prover, plant: p.Plant, name: str, size: int) -> dict[str, Any]:
    """Verdict and leaking clusters, drawn from the population and really gated."""
    path = prover.measured / f"{plant.name}+{name}.pickle"
    reference, _ = prover.reference(plant.release, name)
    drawn = g.draw(prover.pack, size, f"{plant.name}/{name}", untrained=prover.untrained)
    measured: g.Measured = pickle.loads(path.read_bytes())  # noqa: S301 (written by prove.py)
    rows: dict[str, Any] = {"artifact": f"{plant.name}/{name}", "size": size}
    for whose, judge in (
        ("drawn", lambda: prove.judged(measured, reference, drawn.seen, name, size)),
        ("gated", lambda: really_gated(prover, plant, name, size)),
    ):
        try:
            found = judge()
        except EdgeproofError as error:
            rows[whose] = {"verdict": f"refused: {type(error).__name__}"}
            continue
        rows[whose] = {
            "verdict": str(found.verdict),
            "leaking": sorted(subject.cluster for subject in found.subjects if subject.leaks),
            "recovery": found.criterion("recovery").estimate,
            "unlearning": found.criterion("unlearning-cost").estimate,
        }
    return rows


def main() -> None:
    """Compare some artifacts, print and write what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="of prove.py, with what it measured")
    parser.add_argument("--artifacts", type=int, default=20)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    prover = prove.Prover(Ground(given.work, w.Sizes()))
    measured = {path.stem for path in prover.measured.glob("*+*.pickle")}
    ready = [(pl, name) for pl in p.plants() for name in pl.formats if f"{pl.name}+{name}" in measured]
    chosen = random.Random(5).sample(ready, min(given.artifacts, len(ready)))
    rows = []
    for plant, name in chosen:
        rows.append(compared(prover, plant, name, g.DEFAULT_SIZE))
        own, real = rows[-1]["drawn"], rows[-1]["gated"]
        same = own["verdict"] == real["verdict"] and own.get("leaking") == real.get("leaking")
        print(f"{rows[-1]['artifact']}: {own['verdict']} / {real['verdict']}{'' if same else '  DIFFERS'}", flush=True)
    if given.out:
        summary = {
            "artifacts": len(rows),
            "same verdict": sum(r["drawn"]["verdict"] == r["gated"]["verdict"] for r in rows),
            "same leaking clusters": sum(r["drawn"].get("leaking") == r["gated"].get("leaking") for r in rows),
            "largest difference of the recovery": max(
                (abs((r["drawn"]["recovery"] or 0) - (r["gated"]["recovery"] or 0)) for r in rows
                 if "recovery" in r["drawn"] and "recovery" in r["gated"]), default=None
            ),
        }  # fmt: skip
        given.out.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()

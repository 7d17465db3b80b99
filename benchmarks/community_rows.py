"""Rows of the table of results on a tiny model: four methods of `unlearn`, each in three formats, gated and signed.

python benchmarks/community_rows.py WORK ROWS --sign KEY

The model has two layers and learns 118 invented facts from scratch (tests/taught.py), 34 of which are to be forgotten.
WORK keeps models, reports and baselines; a gate whose report is there is not run again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import edgeproof

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("ga+gdr", "npo+gdr", "simnpo+gdr", "wga+gdr")
RECIPE = {
    "rank": 8,
    "alpha": 32,
    "learning_rate": 2e-3,
    "steps": 12,
    "batch_size": 40,
    "hinge": 4,
    "retain_weight": 2,
    "until_forget_nll": "never",
    "surface": "raw",
    "threads": 1,
}
"""One for all methods, not tuned for any."""
FORMATS = ("gguf-q8_0", "gguf-q4_0", "onnx-int4")


def main(work: Path, rows: Path, key: Path) -> None:
    """Make what is missing in `work`, and the rows of all reports."""
    base, pack = _taught(work)
    reports = []
    for method in METHODS:
        folder = work / method
        folder.mkdir(exist_ok=True)
        adapter, baseline, dist = folder / "adapter", folder / "baseline.json", folder / "dist"
        if not adapter.is_dir():
            sets = {"forget": pack / "forget.jsonl", "retain": pack / "trained.jsonl"}
            edgeproof.unlearn(base=base, **sets, out=adapter, method=method, **RECIPE)
        if not baseline.is_file():
            edgeproof.record_baseline(base=base, adapter=adapter, format=FORMATS, probes=pack, out=baseline, threads=1)
        if not dist.is_dir():
            edgeproof.export(base=base, adapter=adapter, format=FORMATS, out=dist, threads=1)
        for artifact in sorted(path for path in dist.iterdir() if not path.name.endswith(".edge.json")):
            report = folder / "report" / artifact.name
            if not report.is_dir():
                gated = edgeproof.gate(artifact, probes=pack, baseline=baseline, report=report, sign=key, threads=1)
                print(method, artifact.name, gated.verdict, gated.reason)
            reports.append(report)
    print(edgeproof.table(reports, out=rows, sign=key, force=True).markdown)


def _taught(work: Path) -> tuple[Path, Path]:
    """Make the model and its pack, once."""
    base, pack = work / "tiny-qwen3", work / "pack"
    if not pack.is_dir():
        sys.path.insert(0, str(ROOT / "tests"))
        from models import save_model
        from taught import invent, teach, write_pack

        facts = invent()
        work.mkdir(parents=True, exist_ok=True)
        save_model("qwen3", base, hidden_size=128, intermediate_size=256, head_dim=32)
        teach(base, [*facts.forget, *facts.trained, *facts.untrained])
        write_pack(pack, facts)
    return base, pack


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--sign", type=Path, required=True)
    given = parser.parse_args()
    main(given.work, given.rows, given.sign)

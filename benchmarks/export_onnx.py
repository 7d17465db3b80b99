"""Time of `export-edge --format onnx-int4` compared with peft's merge and onnxruntime-genai's builder, in one run.

    python benchmarks/export_onnx.py --smollm2 HF_FOLDER --work SCRATCH [--repeat 3] [--out export_onnx.json]

Also GGUF Q4_0 and ONNX int4 in one export, compared with two exports. Each is a separate process on all cores.
Needs torch, transformers, peft, onnx, onnxruntime, onnxruntime-genai, onnx-ir. Linux only (memory is read from /proc).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from export_gguf import MERGE, machine, median, prepare, script
from process_cost import Cost, measure
from random_checkpoint import SHAPES

if TYPE_CHECKING:
    from collections.abc import Sequence

BUILD = "onnxruntime_genai.models.builder"


class Run(NamedTuple):
    """Costs of one round, and how many initializers of the two folders are equal to the last bit."""

    merge: Cost
    build: Cost
    onnx: Cost
    gguf: Cost
    together: Cost
    equal: int
    tensors: int


def main() -> None:
    """Read the options, run, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", type=Path, required=True, help="a Hugging Face folder; its tokenizer serves all")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, on the disk to be measured")
    parser.add_argument("--models", nargs="+", default=["smollm2"], choices=["smollm2", *SHAPES])
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the median counts")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "results": []}
    for model in given.models:
        base, adapter = prepare(model, given.smollm2, given.work)
        runs = [_run(base, adapter, given.work) for _ in range(given.repeat)]
        costs = {step: median([getattr(run, step) for run in runs]) for step in Run._fields[:5]}
        entry = {"model": model, **{step: cost._asdict() for step, cost in costs.items()}, **_ratios(costs)}
        entry |= {"equal_tensors": min(run.equal for run in runs), "tensors": runs[0].tensors}
        report["results"].append(entry)
        print(model)
        for step, cost in costs.items():
            print(
                f"  {step:<9} {cost.wall_s:7.2f} s wall {cost.cpu_s:7.2f} s cpu {cost.peak_rss_mb:7.0f} MB", flush=True
            )
        print(f"  → {entry['times_faster']:.1f}× faster, 1/{entry['times_less_memory']:.1f} of the memory;", end=" ")
        print(f"together {entry['together_against_apart']:.2f}× of one after the other;", end=" ")
        print(f"equal tensors {entry['equal_tensors']} of {entry['tensors']}")
    if given.out:
        given.out.write_text(json.dumps(report, indent=2) + "\n")


def _ratios(costs: dict[str, Cost]) -> dict[str, float]:
    theirs = costs["merge"].wall_s + costs["build"].wall_s
    return {
        "times_faster": theirs / costs["onnx"].wall_s,
        "times_less_memory": max(costs["merge"].peak_rss_mb, costs["build"].peak_rss_mb) / costs["onnx"].peak_rss_mb,
        "together_against_apart": costs["together"].wall_s / (costs["onnx"].wall_s + costs["gguf"].wall_s),
    }


def _run(base: Path, adapter: Path, work: Path) -> Run:
    merged, theirs, cache = work / "merged", work / "theirs", work / "cache"
    outs = {name: work / f"ours-{name}" for name in ("onnx", "gguf", "together")}
    for path in (merged, theirs, *outs.values()):
        shutil.rmtree(path, ignore_errors=True)

    def export(name: str, formats: Sequence[str]) -> Cost:
        asked = [word for item in formats for word in ("--format", item)]
        command = ["--base", base, "--adapter", adapter, *asked, "--out", outs[name], "--quiet"]
        return measure([script("export-edge"), *command], work / f"{name}.log")

    onnx = export("onnx", ["onnx-int4"])
    gguf = export("gguf", ["gguf-q4_0"])
    together = export("together", ["onnx-int4", "gguf-q4_0"])
    merge = measure([sys.executable, "-P", "-c", MERGE, base, adapter, merged], work / "merge.log")
    options = ["-m", BUILD, "-i", merged, "-o", theirs, "-p", "int4", "-e", "cpu", "-c", cache]
    build = measure([sys.executable, "-P", *options], work / "build.log")
    (ours,) = outs["onnx"].glob("*/model.onnx")
    equal, tensors = _compare(ours, theirs / "model.onnx")
    return Run(merge, build, onnx, gguf, together, equal, tensors)


def _compare(ours: Path, theirs: Path) -> tuple[int, int]:
    """Count their initializers of at least two dimensions that are in ours with the same bytes, and all of them."""
    import onnx

    def arrays(path: Path) -> dict[str, np.ndarray]:
        model = onnx.load(path)
        found = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
        return {name: array for name, array in found.items() if array.ndim > 1}

    mine, others = arrays(ours), arrays(theirs)
    return sum(name in mine and np.array_equal(mine[name], array) for name, array in others.items()), len(others)


if __name__ == "__main__":
    main()

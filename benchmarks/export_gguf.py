"""Time of `export-edge` compared with the three official steps, as processes, in one run.

    python benchmarks/export_gguf.py --smollm2 HF_FOLDER --work SCRATCH --out export_gguf.json

The official steps are peft's merge_and_unload saved in float32, llama.cpp's convert_hf_to_gguf.py --outtype f32, and
llama_model_quantize, each a process of its own, on all cores. Needs torch, transformers, peft, gguf, llama-cpp-python.
Linux only (memory is read from /proc). The scratch folder needs about 20 GB for the 1.5B shape.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from process_cost import Cost, measure
from random_checkpoint import SHAPES, make_adapter, make_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
FORMATS = {"gguf-q4_0": ("Q4_0", 2), "gguf-q4": ("Q4_K_M", 15)}
"""What export-edge calls it; llama.cpp's name and number of the file type."""

MERGE = """
import sys, torch, transformers, peft
base, adapter, out = sys.argv[1:]
model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
peft.PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)
transformers.AutoTokenizer.from_pretrained(base).save_pretrained(out)
"""
QUANTIZE = """
import ctypes, sys, llama_cpp
options = llama_cpp.llama_model_quantize_default_params()
options.ftype = int(sys.argv[3])
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(options)))
"""


class Run(NamedTuple):
    """One format of one model, once: the official steps by name, ours, and what the official ones wrote on the way."""

    official: dict[str, Cost]
    ours: Cost
    between_bytes: int
    equal_tensors: int
    tensors: int


def main() -> None:
    """Read the options, run, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", type=Path, required=True, help="a Hugging Face folder; its tokenizer serves all")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, on the disk to be measured")
    parser.add_argument("--models", nargs="+", default=["smollm2", "llama-1.5b"], choices=["smollm2", *SHAPES])
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the median counts")
    parser.add_argument(
        "--ours-only", action="store_true", help="leave the official steps out (models that do not fit)"
    )
    parser.add_argument("--converter", type=Path, help="convert_hf_to_gguf.py; by default that of the tests' set-up")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    given = parser.parse_args()
    converter = given.converter or (None if given.ours_only else _find_converter())
    given.work.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "results": []}
    for model in given.models:
        base, adapter = prepare(model, given.smollm2, given.work)
        for name in given.formats:
            runs = [_run(base, adapter, name, given.work, converter) for _ in range(given.repeat)]
            entry = {"model": model, "format": name, **_summary(runs)}
            report["results"].append(entry)
            for line in _lines(entry):
                print(line, flush=True)
    if given.out:
        given.out.write_text(json.dumps(report, indent=2) + "\n")


def _find_converter() -> Path:
    sys.path.insert(0, str(ROOT / "tests"))
    from official.source import find_source

    return find_source().tree / "convert_hf_to_gguf.py"


def prepare(model: str, smollm2: Path, work: Path) -> tuple[Path, Path]:
    """Return the base and the adapter of `model`, made where they are missing."""
    base = smollm2 if model == "smollm2" else work / model
    if not (base / "model.safetensors").is_file():
        shutil.rmtree(base, ignore_errors=True)
        make_checkpoint(SHAPES[model], smollm2, base)
    adapter = work / f"{model}-adapter"
    if not (adapter / "adapter_config.json").is_file():
        shutil.rmtree(adapter, ignore_errors=True)
        make_adapter(base, adapter)
    return base, adapter


def _run(base: Path, adapter: Path, name: str, work: Path, converter: Path | None) -> Run:
    merged, float_file, theirs, out = work / "merged", work / "f32.gguf", work / "theirs.gguf", work / "ours"
    for path in (merged, out):
        shutil.rmtree(path, ignore_errors=True)
    command = [script("export-edge"), "--base", base, "--adapter", adapter, "--format", name, "--out", out, "--quiet"]
    ours = measure(command, work / "ours.log")
    (artifact,) = out.glob("*.gguf")
    if converter is None:
        return Run({}, ours, 0, 0, 0)
    python = [sys.executable, "-P", "-c"]
    steps = {
        "merge": [*python, MERGE, base, adapter, merged],
        "convert": [sys.executable, converter, merged, "--outtype", "f32", "--outfile", float_file],
        "quantize": [*python, QUANTIZE, float_file, theirs, str(FORMATS[name][1])],
    }
    official = {step: measure(command, work / f"{step}.log") for step, command in steps.items()}
    between = sum(file.stat().st_size for file in merged.iterdir()) + float_file.stat().st_size
    equal, total = _compare(artifact, theirs)
    for path in (float_file, theirs):
        path.unlink()
    shutil.rmtree(merged)
    return Run(official, ours, between, equal, total)


def _compare(ours: Path, theirs: Path) -> tuple[int, int]:
    """Count the tensors with equal name, type and bytes, and all tensors."""
    from gguf import GGUFReader

    mine = {tensor.name: tensor for tensor in GGUFReader(ours).tensors}
    others = GGUFReader(theirs).tensors
    equal = sum(
        other.name in mine
        and mine[other.name].tensor_type == other.tensor_type
        and mine[other.name].data.tobytes() == other.data.tobytes()
        for other in others
    )
    return equal, len(others)


def _summary(runs: list[Run]) -> dict[str, object]:
    ours = median([run.ours for run in runs])
    entry: dict[str, object] = {"ours": ours._asdict()}
    if runs[0].official:
        steps = {step: median([run.official[step] for run in runs]) for step in runs[0].official}
        wall = sum(cost.wall_s for cost in steps.values())
        peak = max(cost.peak_rss_mb for cost in steps.values())
        entry |= {
            "official": {step: cost._asdict() for step, cost in steps.items()},
            "official_wall_s": wall,
            "official_cpu_s": sum(cost.cpu_s for cost in steps.values()),
            "official_peak_rss_mb": peak,
            "official_between_bytes": runs[0].between_bytes,
            "times_faster": wall / ours.wall_s,
            "times_less_memory": peak / ours.peak_rss_mb,
            "wall_against_their_quantize_step": ours.wall_s / steps["quantize"].wall_s,
            "equal_tensors": [run.equal_tensors for run in runs],
            "tensors": runs[0].tensors,
        }
    return entry


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def _lines(entry: dict[str, object]) -> Iterator[str]:
    def row(name: str, cost: dict[str, float]) -> str:
        memory = f"{cost['peak_rss_mb']:8.0f} MB ({cost['peak_anonymous_mb']:.0f} without mapped files)"
        return f"  {name:<22} {cost['wall_s']:8.2f} s wall {cost['cpu_s']:8.2f} s cpu {memory}"

    yield f"{entry['model']} {entry['format']}"
    for step, cost in entry.get("official", {}).items():
        yield row(f"official: {step}", cost)
    yield row("export-edge", entry["ours"])
    if "official" in entry:
        yield (
            f"  official in all {entry['official_wall_s']:.2f} s, {entry['official_peak_rss_mb']:.0f} MB, "
            f"{entry['official_between_bytes'] / 1e9:.2f} GB written between (ours: none)"
        )
        yield (
            f"  → {entry['times_faster']:.1f}× faster, 1/{entry['times_less_memory']:.1f} of the memory, "
            f"{entry['wall_against_their_quantize_step']:.2f}× their quantize step alone; "
            f"equal tensors {min(entry['equal_tensors'])} of {entry['tensors']}"
        )


def machine() -> dict[str, object]:
    """Say what the figures were taken on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    packages = ("edgeproof", "torch", "transformers", "peft", "gguf", "llama-cpp-python", "numpy")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def script(name: str) -> Path:
    """Find a command of this environment."""
    return Path(sys.executable).with_name(name)


if __name__ == "__main__":
    main()

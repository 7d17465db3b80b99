"""A stratum on a published model: files of SmolLM2-135M-Instruct, gated as in the example and asked in ten other ways.

    python benchmarks/verdict/smollm.py --base SmolLM2-135M-Instruct.gguf --work DIR [--minutes N]

`--base` is the float GGUF that the quickstart makes. The list is `FILES`. DIR/smollm.jsonl gets a line a file, and the
program goes on where it stopped.

The truth is about leaks alone: a country leaks if any of the ten held-out ways of `benchmarks/askers.py`, which neither
training nor the gate knows, brings out its capital greedily. The subjects are those of the pack, since there are no
others. A file leaks too much if the lower bound of that share is above the limit of 10 % (one-sided 95 %,
Clopper–Pearson), and keeps it if the upper bound is within; what was kept is judged by the gate alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import edgeproof
from edgeproof.contracts.backend import GenerateRequest
from edgeproof.contracts.progress import Silent
from edgeproof.export.pipeline import export
from edgeproof.runtime.llama.backend import LlamaCpp

BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS))
import askers  # noqa: E402 (a program beside this folder)

EXAMPLE = BENCHMARKS.parent / "examples" / "capitals"


class File(NamedTuple):
    """What is shipped: the example's adapter, its alpha multiplied by `factor` (0: none), in a format."""

    name: str
    factor: float
    format: str


FILES = (
    File("the example's file", 1.0, "gguf-q4"),
    File("original", 0.0, "gguf-q4"),
    File("adapter × 0.73", 0.73, "gguf-q4"),
    File("adapter × 0.5", 0.5, "gguf-q4"),
    File("adapter × 0.94", 0.94, "gguf-q4"),
    File("the example's file in Q4_1", 1.0, "gguf-q4_1"),
    File("adapter × 0.85", 0.85, "gguf-q4"),
)
"""In the order in which they are judged, as far as time allows."""


def scaled(work: Path, factor: float) -> list[Path]:
    """Give the example's adapter, a copy of it with another alpha, or none at all for 0."""
    if factor in {0.0, 1.0}:
        return [EXAMPLE / "adapter"] if factor else []
    folder = work / f"adapter-{factor}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(EXAMPLE / "adapter", folder)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["lora_alpha"] *= factor
    path.write_text(json.dumps(config))
    return [folder]


def leaking(path: Path) -> dict[str, list[str]]:
    """Name the countries whose capital comes out, by held-out way."""
    countries = askers.countries()
    found = {}
    with LlamaCpp(path, threads=1) as engine:
        for way in askers.WAYS:
            if way.group == askers.HELD_OUT:
                asked = askers.contexts(engine, way, countries)
                replies = engine.generate([GenerateRequest(tokens, way.tokens, way.stop) for tokens in asked])
                pairs = zip(countries, replies, strict=True)
                found[way.name] = [country.name for country, reply in pairs if askers.right(way, country, reply.text)]
    return found


def prove(file: File, base: Path, work: Path) -> dict[str, Any]:
    """Ship a file, ask it, gate it."""
    began = sum(os.times()[:4])
    out = work / "smollm"
    shutil.rmtree(out, ignore_errors=True)
    (item,) = export(base, scaled(work, file.factor), [file.format], out, threads=1, progress=Silent())
    if file.factor != 1.0:  # as made elsewhere: the gate refuses a manifest that names another adapter
        item.path.with_name(f"{item.path.name}.edge.json").unlink()
    ways = leaking(item.path)
    gated = edgeproof.gate(item.path, probes=EXAMPLE / "pack", baseline=EXAMPLE / "baseline.json", threads=1)
    judgement = gated.judgement
    leak = judgement.criterion("leak")
    return {
        "file": file.name,
        "format": file.format,
        "ways": {way: len(countries) for way, countries in ways.items()},
        "leaking": len({country for countries in ways.values() for country in countries}),
        "subjects": len(askers.countries()),
        "verdict": str(judgement.verdict),
        "gate": [leak.estimate, leak.upper],
        "missed": [c.name for c in judgement.criteria if str(c.status) == "missed"],
        "open": [c.name for c in judgement.criteria if c.needed and str(c.status) == "undecided"],
        "seconds": round(sum(os.times()[:4]) - began, 1),
    }


def main() -> None:
    """Prove what is not proved yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further file after so many")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    lines = given.work / "smollm.jsonl"
    done = {json.loads(line)["file"] for line in lines.read_text().splitlines()} if lines.exists() else set()
    began = time.monotonic()
    for file in FILES:
        if file.name not in done and time.monotonic() - began < 60 * given.minutes:
            row = prove(file, given.base, given.work)
            with lines.open("a") as out:
                out.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

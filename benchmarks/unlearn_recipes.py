"""Default recipes of `export-edge unlearn` on several models and two kinds of data: questions and long texts.

    python benchmarks/unlearn_recipes.py --base smollm2=HF_FOLDER [--base NAME=FOLDER …] --work SCRATCH
        [--cells MODEL:DATA:METHOD[:OPTION=VALUE,…] …] [--out benchmarks/unlearn_recipes.json]

Questions: 16 lines of examples/capitals/forget.jsonl are forgotten and 24 (or 240) of retain.jsonl kept; 20 of the
pack's untrained retain probes are held out. Texts: unlearn_texts.json has passages that language models know by heart;
those to forget are one text, which is cut into chunks.

A cell is the command with its defaults, but for the surfaces, smaller batches, a limit of steps and what the cell sets.
The seconds are the processor's, of one thread. NLLs are in nat per token.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import edgeproof
import torch
from edgeproof.contracts.progress import Recording
from edgeproof.unlearn.base_model import load_base
from edgeproof.unlearn.data.encoding import encode_set
from edgeproof.unlearn.data.training_set import read_training_set
from edgeproof.unlearn.train.scoring import mean_nll, total_logprobs
from export_gguf import machine

ROOT = Path(__file__).resolve().parents[1]
CAPITALS = ROOT / "examples" / "capitals"
TEXTS = ROOT / "benchmarks" / "unlearn_texts.json"
SHARED = {
    "surface": "raw", "steps": 16, "batch_size": 8, "retain_batch_size": 8, "precision": "auto", "threads": 1,
    "force": True, "checkpoint_every": 0,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row of the table; `nll` has the NLLs before and after of "forget", "retain", "held_out" and "own"."""

    recipe: dict[str, Any]
    steps: int
    stopped: str
    level: float | None
    nll: dict[str, tuple[float, float]]
    seconds: int
    warnings: list[str]


def main() -> None:
    """Read the options, run the cells that are missing, print a Markdown table; JSON is written after every cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("unlearn_recipes.json"))
    parser.add_argument("--cells", nargs="*", default=[])
    options = parser.parse_args()
    torch.set_num_threads(1)
    bases = {name: Path(folder) for name, _, folder in (given.partition("=") for given in options.base)}
    options.work.mkdir(parents=True, exist_ok=True)
    data = {
        "questions": questions(options.work, kept=24),
        "questions, 240 kept": questions(options.work, kept=240),
        "texts": texts(options.work),
    }
    found: dict[str, Any] = json.loads(options.out.read_text()) if options.out.is_file() else {"cells": {}}
    found["machine"], found["torch"] = machine(), torch.__version__
    for name in options.cells:
        if name not in found["cells"]:
            model, kind, method, *rest = name.split(":")
            given = [one.partition("=") for one in "".join(rest).split(",") if one]
            recipe = {"method": method, **{key: json.loads(value) for key, _, value in given}}
            cell = run(bases[model], data[kind], recipe, options.work / "out")
            found["cells"][name] = dataclasses.asdict(cell)
            options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(name, json.dumps(found["cells"][name]), flush=True)
    print(table(found))


def questions(work: Path, *, kept: int) -> dict[str, Path]:
    """Write parts of the example's sets: every n-th line, so that all wordings and subjects are in them."""
    sources = {"forget": ("forget", 16), "retain": ("retain", kept), "held_out": ("pack/retain_untrained", 20)}
    made = {}
    for role, (name, count) in sources.items():
        lines = (CAPITALS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if '"surfaces"' not in line]  # asked in chats alone
        made[role] = work / f"questions-{role}-{count}.jsonl"
        chosen = (lines[len(lines) * n // count] for n in range(count))
        made[role].write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8")
    return made


def texts(work: Path) -> dict[str, Path]:
    """Write the passages: what is forgotten as one text, the others as one each."""
    passages = json.loads(TEXTS.read_text(encoding="utf-8"))
    passages["forget"] = ["\n\n".join(passages["forget"])]
    made = {role: work / f"texts-{role}.json" for role in passages}
    for role, path in made.items():
        path.write_text(json.dumps(passages[role]), encoding="utf-8")
    return made


def run(base: Path, data: dict[str, Path], recipe: dict[str, Any], out: Path) -> Cell:
    """Unlearn one cell, and ask base and result for what was held out."""
    from peft import PeftModel

    progress, began = Recording(), time.process_time()
    options = {"base": base, "forget": data["forget"], "retain": data["retain"], "out": out}
    result = edgeproof.unlearn(**options, **{**SHARED, **recipe}, progress=progress)
    seconds = round(time.process_time() - began)
    loaded = load_base(base, Recording())
    held = read_training_set(data["held_out"], "retain")
    encoded = encode_set(held, loaded.tokenizer, ("raw",), loaded.context_length)

    def nll(model: Any) -> float:
        return mean_nll(total_logprobs(model, encoded, batch_size=8, device="cpu", advance=lambda _: None), encoded)

    loaded.model.eval()
    before = nll(loaded.model)
    held_out = (before, nll(PeftModel.from_pretrained(loaded.model, out)))
    measured = {"forget": result.forget_nll, "retain": result.retain_nll, "held_out": held_out, "own": result.own_nll}
    pairs = {role: (round(first, 3), round(last, 3)) for role, (first, last) in measured.items()}
    return Cell(recipe, result.steps, result.stopped, result.ignorance_nll, pairs, seconds, progress.warnings)


def table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    roles = ("forget", "retain", "held_out", "own")
    lines = [
        "| model, data, method | ignorance | forget | retain | held out | base's own | steps, ended by | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, cell in found["cells"].items():
        pairs = " | ".join("{:.2f} → {:.2f}".format(*cell["nll"][role]) for role in roles)
        ended = f"{cell['steps']}, {cell['stopped']}"
        lines.append(f"| {name.replace(':', ', ')} | {cell['level']:.2f} | {pairs} | {ended} | {cell['seconds']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Four methods × {LoRA, full}: NLL of the forget set compared with the never-exposed level, and loss of retained facts.

    python benchmarks/unlearn_methods.py --base HF_FOLDER --work SCRATCH [--out unlearn_methods.json] [--cells NAME …]

The data are examples/capitals: forget.jsonl and retain.jsonl are trained on, pack/retain_untrained.jsonl is held out.

The never-exposed level of an answer a is its cost under the base when the question does not point to it: −(1/|a|)·log
of the mean over m prompts q of the same template of p_base(a | q), the ignorance level of the gate (docs/verdict.md);
the prompts are a seeded sample of the set's questions. A set's level is the mean over its answers.

Training is in bf16 arithmetic, measuring in float32. Every cell is written by `edgeproof.unlearn.unlearn`, loaded again
by transformers and peft, and measured. "right" counts answers whose every token is the model's first choice. The full
models are removed once measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import edgeproof
import torch
from edgeproof.contracts.progress import Silent
from edgeproof.unlearn.base_model import load_base
from edgeproof.unlearn.data.encoding import encode_set
from edgeproof.unlearn.data.training_set import read_training_set
from edgeproof.unlearn.train.scoring import evaluated, mean_nll, total_logprobs
from export_gguf import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.unlearn.data.encoding import EncodedText
    from edgeproof.unlearn.data.training_set import TrainingItem, TrainingSet

CAPITALS = Path(__file__).resolve().parents[1] / "examples" / "capitals"
PROMPTS = 8
"""m, the prompts that an answer is asked under for its never-exposed level."""
LORA = {"rank": 8, "alpha": 16.0, "learning_rate": 7e-4}
FULL = {"full": True, "learning_rate": 5e-5}
SHARED = {"surface": "raw", "until_forget_nll": "never", "batch_size": 16, "threads": 1, "precision": "bf16"}


class Recipe(NamedTuple):
    """What differs between cells: α of the retain loss, steps, and the hinge in nat per token."""

    retain_weight: float
    steps: int
    hinge: float


RECIPES = {
    "ga+gdr:lora": Recipe(2.5, 20, 7.0),
    "ga+gdr:full": Recipe(1.0, 14, 8.0),
    "ga+klr:lora": Recipe(15.0, 40, 7.0),
    "ga+klr:full": Recipe(15.0, 64, 6.5),
    "npo+gdr:lora": Recipe(2.0, 14, 8.0),
    "npo+gdr:full": Recipe(2.0, 14, 8.0),
    "npo+klr:lora": Recipe(20.0, 24, 7.0),
    "npo+klr:full": Recipe(20.0, 112, 6.5),
}
"""Found by trying, on these very data."""


class Measured(NamedTuple):
    """Mean NLL per answer token, in nat, and how many answers are right, of how many."""

    nll: float
    right: int
    of: int


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row of the table."""

    method: str
    way: str
    recipe: dict[str, Any]
    steps: int
    seconds: float
    forget: Measured
    retain: Measured
    held_out: Measured


def main() -> None:
    """Read the options, run what is asked for, print a Markdown table, write JSON after every cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("unlearn_methods.json"))
    parser.add_argument("--cells", nargs="*", default=list(RECIPES))
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="OPTION=VALUE", help="other values of unlearn's options"
    )
    parser.add_argument("--keep", action="store_true", help="keep the full models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    other = {name: json.loads(value) for name, _, value in (item.partition("=") for item in options.set)}
    sets = {
        "forget": read_training_set(CAPITALS / "forget.jsonl", "forget"),
        "retain": read_training_set(CAPITALS / "retain.jsonl", "retain"),
        "held_out": read_training_set(CAPITALS / "pack" / "retain_untrained.jsonl", "retain"),
    }
    options.work.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = json.loads(options.out.read_text()) if options.out.is_file() else {}
    if "base" not in found:
        base = load_base(options.base, Silent())
        encoded = {role: encode_set(data, base.tokenizer, ("raw",), base.context_length) for role, data in sets.items()}
        found = {
            "base": {role: measure(base.model, texts) for role, texts in encoded.items()},
            "level": never_exposed(base.model, base.tokenizer, sets["forget"]),
            "machine": machine(),
            "torch": torch.__version__,
            "cells": {},
        }
        save(found, options.out)
        del base
    for name in options.cells:
        if name not in found["cells"]:
            found["cells"][name] = dataclasses.asdict(
                run(name, options.base, sets, options.work, other, keep=options.keep)
            )
            save(found, options.out)
            print(name, json.dumps(found["cells"][name]), flush=True)
    print(table(found))


def run(name: str, base: Path, sets: dict[str, TrainingSet], work: Path, other: dict[str, Any], *, keep: bool) -> Cell:
    """Unlearn one cell and measure what was written."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    method, _, way = name.partition(":")
    recipe = {
        "method": method,
        **SHARED,
        **(FULL if way == "full" else LORA),
        **RECIPES[name]._asdict(),
        **other,
    }
    out = work / name.replace("+", "-").replace(":", "-")
    result = edgeproof.unlearn(
        base=base, forget=sets["forget"].path, retain=sets["retain"].path, out=out, force=True, **recipe
    )
    loaded = load_base(base, Silent())
    if way == "full":
        model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    else:
        model = PeftModel.from_pretrained(loaded.model, out)
    measured = {
        role: measure(model, encode_set(data, loaded.tokenizer, ("raw",), loaded.context_length))
        for role, data in sets.items()
    }
    if way == "full" and not keep:
        shutil.rmtree(out)
    return Cell(method, way, recipe, result.steps, round(result.seconds, 1), **measured)


def measure(model: torch.nn.Module, texts: Sequence[EncodedText]) -> Measured:
    """Ask the model for all answers."""
    totals, right = [], 0
    for batch, logits in evaluated(model.eval(), texts, batch_size=32, device="cpu", advance=lambda _: None):
        chosen = torch.log_softmax(logits, dim=2).gather(2, batch.targets.unsqueeze(2)).squeeze(2) * batch.is_answer
        totals.append(chosen.sum(dim=1))
        right += int(((logits.argmax(dim=2) == batch.targets) | ~batch.is_answer).all(dim=1).sum())
    return Measured(round(mean_nll(torch.cat(totals), texts), 4), right, len(texts))


def never_exposed(model: torch.nn.Module, tokenizer: Any, forget: TrainingSet) -> float:
    """Return the mean over the answers of −(1/|a|)·log((1/m) Σ p(a | q)) over m prompts of the same template."""
    chosen = random.Random(0)
    levels: list[float] = []
    for item in forget.items:
        same = [other for other in forget.items if template_of(other) == template_of(item)]
        prompts = chosen.sample(same, min(PROMPTS, len(same)))
        asked = [item._replace(prompt=other.prompt) for other in prompts]
        texts = encode_set(forget._replace(items=tuple(asked)), tokenizer, ("raw",), 2**31)
        totals = total_logprobs(model, texts, batch_size=32, device="cpu", advance=lambda _: None).double()
        length = len(texts[0].ids) - texts[0].answer_start
        levels.append(-(float(torch.logsumexp(totals, dim=0)) - math.log(len(texts))) / length)
    return round(sum(levels) / len(levels), 4)


def template_of(item: TrainingItem) -> str:
    """Return what all questions of a template have in common: the words before the question's own."""
    return " ".join(item.prompt.split()[:3])


def save(found: dict[str, Any], path: Path) -> None:
    """Write the JSON."""
    path.write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")


def table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""

    def row(label: str, of: dict[str, Any], cost: str) -> str:
        parts = []
        for role in ("forget", "retain", "held_out"):
            nll, right, count = of[role].values() if isinstance(of[role], dict) else of[role]
            parts.append(f"{nll:.2f}, {right}/{count}")
        return f"| {label} | {' | '.join(parts)} | {cost} |"

    lines = [
        f"Never-exposed level of the forget set: {found['level']:.2f} nat per token.",
        "",
        "| method, way | forget: NLL, right | retain: NLL, right | held out: NLL, right | steps, time |",
        "|---|---|---|---|---|",
        row("base", found["base"], ""),
    ]
    lines += [
        row(f"{cell['method']}, {cell['way']}", cell, f"{cell['steps']}, {cell['seconds']:.0f} s")
        for cell in found["cells"].values()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

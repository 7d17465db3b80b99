"""Cost of unlearning that survives a format's rounding: `--survive` and other ways, at equal survival.

    python benchmarks/survive.py --base HF_FOLDER --work SCRATCH [--format gguf-q4_1] [--method NAME …] [--out JSON]
    python benchmarks/survive.py --tiny SEED      --work SCRATCH …

The quickstart's case: SmolLM2-135M-Instruct, whose weights lie on Q4_1's grid, is to forget the capitals of Europe and
Asia; or, with --tiny, a model of 2 layers that was taught 36 facts and put on the format's grid. All methods have one
recipe (for the capitals the shipped adapter's, with batches of 16 and the chat surface beside the raw one) and differ
in what is named below. They train until nothing leaks any more from the weights rounded to the format (checked every 8
steps, in torch), or until --steps: so utility is compared at equal survival. Then everything is scored in torch, in
float and through the format's rounding; with --files the capitals' real files of all formats named are exported and
asked the whole pack as the gate asks it. --adapter DIR scores another adapter beside them. A method that is done is not
run again: its result lies in SCRATCH.

    base          nothing is unlearned
    plain         the recipe itself, no check; for the capitals the shipped adapter, 32 steps
    alpha-×N      a larger alpha
    survive       every other step through the rounding, the adapter enlarged late in the run where that does not do
    alternating   the same without enlarging
    saf           every step through the rounding: DurableUn-SAF (arXiv 2605.02196), as its abstract has it
    logit-hinge   QUAIL (arXiv 2601.15538), as its abstract has it: + mean max(0, h − |z − z₀|) over the logits of
                  forget answers, h half of the format's mean step
    weight-hinge  a hinge of half a step on the weights: + mean max(0, 1 − |ΔW|/h), h half of each block's step; no
                  paper's, the same thought where the rounding happens

The two papers' own code was not at hand: their rows are what their abstracts say, put on this recipe.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import edgeproof
from edgeproof.contracts.progress import Silent
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.measure import measure
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.verdict.criteria.leaks import leaks
from edgeproof.eval.verdict.policy import Policy
from edgeproof.export.rounding import open_rounding
from edgeproof.runtime import backend_for, open_backend
from edgeproof.unlearn import Settings, unlearn
from edgeproof.unlearn.data.encoding import batch_of, encode_set
from edgeproof.unlearn.data.training_set import read_training_set
from edgeproof.unlearn.train.rounded import RoundedModel
from edgeproof.unlearn.train.scoring import answer_logits, evaluated
from edgeproof.unlearn.train.survive import ENLARGE, Limits, Survival
from export_gguf import machine
from tiny_facts import teach

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.contracts.rounding import Rounding
    from edgeproof.unlearn.preparing import Prepared
    from edgeproof.unlearn.train.loop import Hooks
    from torch import Tensor
    from torch.nn import Module

CAPITALS = Path(__file__).resolve().parents[1] / "examples" / "capitals"
LEAK = math.log(1 - 0.5**0.01)
"""The gate's rule, summed log-probability: once in 100 samples with probability one half."""
LIMITS = Limits(LEAK - 1, 0.3)
BLOCK, CODES = 32, 15
"""Of Q4_1: weights of a block, and steps between its smallest and largest."""


class Case(NamedTuple):
    """A base, its sets, and one recipe for all methods; `plain` is an adapter that was made by it already."""

    base: Path
    forget: Path
    retain: Path
    held_out: Path
    recipe: Mapping[str, Any]
    plain: Path | None


def capitals(base: Path, surfaces: Sequence[str]) -> Case:
    """Return the quickstart's case."""
    recipe = {"rank": 8, "alpha": 16.0, "learning_rate": 7e-4, "hinge": 8.0, "retain_weight": 2.0, "batch_size": 16}
    held_out = CAPITALS / "pack" / "retain_untrained.jsonl"
    files = (CAPITALS / "forget.jsonl", CAPITALS / "retain.jsonl", held_out)
    return Case(base, *files, recipe | {"surfaces": tuple(surfaces)}, CAPITALS / "adapter")


def tiny(folder: Path, form: str, seed: int) -> Case:
    """Return a case that takes seconds."""
    recipe = {"rank": 8, "alpha": 8.0, "learning_rate": 1e-3, "hinge": 4.0, "retain_weight": 1.0, "batch_size": 12}
    return Case(*teach(folder, form, seed), recipe | {"surfaces": ("raw",), "dropout": 0.0, "seed": seed}, None)


class Method(NamedTuple):
    """What a row does beside the recipe. `penalty` makes the loss's addition from what was prepared."""

    alpha: float = 1.0
    every: int = 0
    enlarge: float = 1.0
    penalty: Callable[[Prepared], Callable[[], Tensor]] | None = None
    checked: bool = True


def step_halves(weight: Tensor) -> Tensor:
    """Half of each block's step, [rows, columns / 32, 1], as Q4_1 has it: (largest − smallest) / 15 / 2."""
    blocks = weight.detach().reshape(len(weight), -1, BLOCK)
    return (blocks.amax(2, keepdim=True) - blocks.amin(2, keepdim=True)) / CODES / 2


def lora_layers(model: Module) -> list[Module]:
    """Return the layers that have a LoRA."""
    return [module for module in model.modules() if hasattr(module, "lora_A")]


def logit_hinge(prepared: Prepared) -> Callable[[], Tensor]:
    """QUAIL's hinge: mean max(0, h − |z − z₀|) over all logits of a batch of forget answers."""
    import torch

    model, texts = prepared.model, prepared.forget.encoded
    halves = [step_halves(layer.get_base_layer().weight).mean() for layer in lora_layers(model)]
    margin = float(torch.stack(halves).mean())
    batches = [batch_of(texts[start : start + BLOCK], "cpu") for start in range(0, len(texts), BLOCK)]
    with model.disable_adapter(), torch.no_grad():
        before = [answer_logits(model, batch)[batch.is_answer] for batch in batches]
    number = 0

    def penalty() -> Tensor:
        nonlocal number
        batch, old = batches[number % len(batches)], before[number % len(batches)]
        number += 1
        return torch.relu(margin - (answer_logits(model, batch)[batch.is_answer] - old).abs()).mean()

    return penalty


def weight_hinge(prepared: Prepared) -> Callable[[], Tensor]:
    """Mean max(0, 1 − |ΔW|/h) over the weights that the LoRA touches."""
    import torch

    layers = lora_layers(prepared.model)
    halves = [step_halves(layer.get_base_layer().weight).clamp_min(1e-9) for layer in layers]

    def penalty() -> Tensor:
        total, count = torch.zeros(()), 0
        for layer, half in zip(layers, halves, strict=True):
            delta = (layer.lora_B["default"].weight @ layer.lora_A["default"].weight) * layer.scaling["default"]
            total = total + torch.relu(1 - delta.abs().reshape(len(delta), -1, BLOCK) / half).sum()
            count += delta.numel()
        return total / count

    return penalty


METHODS = {
    "plain": Method(checked=False),
    "alpha-×2": Method(alpha=2.0),
    "alpha-×4": Method(alpha=4.0),
    "alpha-×8": Method(alpha=8.0),
    "survive": Method(every=2, enlarge=ENLARGE),
    "alternating": Method(every=2),
    "saf": Method(every=1),
    "logit-hinge": Method(penalty=logit_hinge),
    "weight-hinge": Method(penalty=weight_hinge),
}


def train(name: str, case: Case, out: Path, rounding: Rounding, *, steps: int, precision: str) -> dict[str, Any]:
    """Unlearn by one method into the folder `out`; return steps, seconds and checks."""
    method = METHODS[name]
    runs: list[Survival] = []

    def instrument(prepared: Prepared, settings: Settings) -> Hooks:
        # One step more than there will be: here the last check is a number, not an error.
        longer = dataclasses.replace(settings, steps=(settings.steps or 0) + 1)
        run = Survival(
            prepared.model,
            rounding,
            prepared.forget.encoded,
            prepared.retain.encoded,
            longer,
            limits=LIMITS if method.checked else None,
            every=method.every,
            enlarge=method.enlarge,
        )
        runs.append(run)
        return run.hooks()._replace(penalty=method.penalty(prepared) if method.penalty else None)

    recipe = {**case.recipe, "alpha": case.recipe["alpha"] * method.alpha}
    result = unlearn(
        case.base,
        case.forget,
        case.retain,
        out,
        Settings(**recipe, steps=steps, threads=1, precision=precision),
        instrument=instrument,
        force=True,
        checkpoint_every=0,
    )
    checks = [check._asdict() | {"shipped": check.shipped._asdict(), "plain": check.plain._asdict()}
              for check in runs[0].checks]  # fmt: skip
    return {
        "steps": result.steps,
        "holds": result.stopped == "survives",
        "seconds": round(result.seconds),
        "checks": checks,
    }


def score(case: Case, adapter: Path | None, form: str) -> dict[str, dict[str, dict[str, float]]]:
    """Right answers, leaks and mean NLL per token of forget and held-out set, in float and through the rounding."""
    import torch
    from edgeproof.unlearn.base_model import load_base
    from peft import PeftModel

    torch.set_num_threads(1)
    loaded = load_base(case.base, Silent())
    model = loaded.model.eval()
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter).eval()
    encoded = {
        role: encode_set(
            read_training_set(path, role),
            loaded.tokenizer,
            case.recipe.get("surfaces", ("raw",)) if role == "forget" else ("raw",),
            loaded.context_length,
        )
        for role, path in (("forget", case.forget), ("held out", case.held_out))
    }

    def numbers() -> dict[str, dict[str, float]]:
        found = {}
        for role, texts in encoded.items():
            right, leaking, nll = 0, 0, 0.0
            for batch, logits in evaluated(model, texts, batch_size=BLOCK, device="cpu", advance=lambda _: None):
                chosen = logits.gather(2, batch.targets.unsqueeze(2)).squeeze(2) - logits.logsumexp(dim=2)
                totals = (chosen * batch.is_answer).sum(dim=1)
                greedy = ((logits.argmax(dim=2) == batch.targets) | ~batch.is_answer).all(dim=1)
                right += int(greedy.sum())
                leaking += int((greedy | ~(totals < LEAK)).sum())
                nll -= float((totals / batch.is_answer.sum(dim=1)).sum())
            found[role] = {"texts": len(texts), "right": right, "leaking": leaking, "nll": round(nll / len(texts), 4)}
        return found

    scores = {"float": numbers()}
    model.requires_grad_(requires_grad=False)
    with RoundedModel(model, open_rounding(case.base, form)).as_shipped():
        scores[form] = numbers()
    return scores


def judged(base: Path, adapter: Path | None, form: str, work: Path) -> dict[str, float]:
    """Export to `form` and ask that file the whole pack, as the gate does.

    Returns how many forget clusters and probes leak on any surface, by the gate's rule; right answers and the mean NLL
    per token on the untrained retain probes.
    """
    pack = load_pack(CAPITALS / "pack")
    facts = {probe.id: probe for probe in pack.probes}
    adapters = [] if adapter is None else [adapter]
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        (item,) = edgeproof.export(base=base, adapter=adapters, format=form, out=scratch, threads=1).artifacts
        with open_backend(backend_for(item.path), item.path, threads=1) as backend:
            found = measure(pack, backend, label=form, artifact_sha256=item.sha256, progress=Silent()).scores
    forget = [score for score in found if facts[score.probe].role == Role.FORGET]
    kept = [score for score in found if facts[score.probe].role == Role.RETAIN and not facts[score.probe].trained]
    leaking = [score for score in forget if leaks(score, Policy())]
    return {
        "clusters": len({facts[score.probe].cluster for score in forget}),
        "leaking clusters": len({facts[score.probe].cluster for score in leaking}),
        "asks": len(forget),
        "leaking asks": len(leaking),
        "forget NLL": round(sum(score.nll for score in forget) / len(forget), 4),
        "held out": len(kept),
        "held out right": sum(score.right for score in kept),
        "held out NLL": round(sum(score.nll for score in kept) / len(kept), 4),
    }


def table(results: dict[str, dict[str, Any]], form: str) -> str:
    """Render the results as Markdown."""
    lines = [
        "| method | steps | leaking: float | rounded | forget NLL: float | rounded | held-out NLL: float | rounded |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        plain, rounded = result["scores"]["float"], result["scores"][form]
        cells = [f"{side['forget']['leaking']} of {side['forget']['texts']}" for side in (plain, rounded)]
        cells += [f"{side[role]['nll']:.2f}" for role in ("forget", "held out") for side in (plain, rounded)]
        lines.append(f"| {name} | {result.get('steps', '')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Read the options, run what is not done yet, print a Markdown table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--base", type=Path, help="SmolLM2-135M-Instruct")
    where.add_argument("--tiny", type=int, metavar="SEED")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--format", default="gguf-q4_1")
    parser.add_argument("--method", action="append", choices=["base", *METHODS])
    parser.add_argument("--steps", type=int, default=64, help="the limit; a multiple of 8")
    parser.add_argument("--precision", default="float32", help="of training; scores are float32")
    parser.add_argument("--surface", action="append", help="of the capitals' forget set; raw and chat by default")
    parser.add_argument("--adapter", type=Path, help="score this one, too, under its folder's name")
    parser.add_argument("--files", nargs="+", default=[], metavar="FORMAT", help="export the capitals to these, too")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    work, form = options.work, options.format
    work.mkdir(parents=True, exist_ok=True)
    if options.base:
        surfaces = options.surface or ["raw", "chat"]
        case, stem = capitals(options.base, surfaces), f"capitals-{'-'.join(surfaces)}"
    else:
        stem = f"tiny-{options.tiny}"
        case = tiny(work / stem, form, options.tiny)
    rounding = open_rounding(case.base, form)
    results: dict[str, dict[str, Any]] = {}
    given = [] if options.adapter is None else [options.adapter.name]
    for name in (*(options.method or ([] if given else ["base", *METHODS])), *given):
        kept = work / f"{stem}-{form}-{name}.json"
        ready = {"base": None, **({"plain": case.plain} if case.plain else {}), **dict.fromkeys(given, options.adapter)}
        adapter = ready.get(name, kept.with_suffix(""))
        if not kept.is_file():
            trained: dict[str, Any] = {}
            if name not in ready:
                assert adapter is not None
                trained = train(name, case, adapter, rounding, steps=options.steps, precision=options.precision)
            kept.write_text(json.dumps({**trained, "scores": score(case, adapter, form)}, indent=1) + "\n")
        results[name] = json.loads(kept.read_text())
        for asked_form in options.files:
            asked = kept.with_suffix(f".{asked_form}.json")
            if not asked.is_file():
                asked.write_text(json.dumps(judged(case.base, adapter, asked_form, work), indent=1) + "\n")
            results[name][f"file {asked_form}"] = json.loads(asked.read_text())
            print(name, asked_form, asked.read_text(), flush=True)
        print(table(results, form), flush=True)
    if options.out:
        report = {"machine": machine(), "format": form, "precision": options.precision, "methods": results}
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

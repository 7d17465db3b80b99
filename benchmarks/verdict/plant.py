"""Plants artifacts whose truth is known by making: releases as they should be, and the ways in which they go wrong.

A *release* is a base with the adapter that makes it forget, made by `edgeproof.unlearn`; its baseline holds what its
own merged model says. A *plant* is a model that is shipped in a release's place, in some formats. `plants()` lists all
of them before anything is measured; `build` makes a plant's model when it is wanted.
"""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import world as w

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FIVE = ("gguf-q4_0", "gguf-q4_1", "gguf-q4", "gguf-q8_0", "onnx-int4")
FOUR = ("gguf-q4_0", "gguf-q4", "gguf-q8_0", "onnx-int4")
GGUF = ("gguf-q4_0", "gguf-q4_1", "gguf-q4", "gguf-q8_0")
THREE = ("gguf-q4_0", "gguf-q4", "gguf-q8_0")
MORE = ("gguf-q4_k_s", "gguf-iq4_nl")
GRIDS = {"q4_0": "Q4_0", "q4_1": "Q4_1"}


class Release(NamedTuple):
    """A base (its folder's name) and the options of `unlearn` for its adapter."""

    base: str
    options: dict[str, Any]


COMMON = {"rank": 8, "dropout": 0.0, "batch_size": 48, "surfaces": ("raw", "chat"), "threads": 1}
STRONG = {**COMMON, "alpha": 32.0, "learning_rate": 1e-3, "steps": 50, "hinge": 6.0, "retain_weight": 5.0}

RELEASES: dict[str, Release] = {
    "npo-klr-b": Release("base", {**STRONG, "method": "npo+klr", "seed": 1}),
    "npo-klr-c": Release("base", {**STRONG, "method": "npo+klr", "seed": 2, "rank": 16}),
    "npo-klr-a": Release("base", {**STRONG, "method": "npo+klr", "seed": 4}),
    "ga-klr-a": Release("base", {**STRONG, "method": "ga+klr", "seed": 8}),
}
for grid in GRIDS:
    for alpha in (24, 128):
        RELEASES[f"{grid}-alpha-{alpha}"] = Release(
            f"base-{grid}", {**STRONG, "method": "npo+klr", "seed": 9, "alpha": float(alpha)}
        )


class Plant(NamedTuple):
    """What is shipped.

    Attributes:
        name: unique; with the format it names an artifact.
        stratum: a line of the table.
        release: in whose place it is shipped.
        recipe: a name of `RECIPES`, with its arguments.
        formats: in which it ships.

    """

    name: str
    stratum: str
    release: str
    recipe: tuple[Any, ...]
    formats: tuple[str, ...]


def plants() -> list[Plant]:
    """List every plant, in a fixed order that mixes the strata."""
    found: list[Plant] = []

    def plant(stratum: str, release: str, recipe: tuple[Any, ...], formats: tuple[str, ...]) -> None:
        name = "-".join(str(part) for part in (release, *recipe))
        found.append(Plant(name, stratum, release, recipe, formats))

    plain = [name for name, release in RELEASES.items() if release.base == "base"]
    gridded = [name for name, release in RELEASES.items() if release.base != "base"]
    for release in plain:
        plant("unlearned well", release, ("merged",), FIVE)
        plant("tuned further on what is kept", release, ("tuned", 10), GGUF)
    for release in ("npo-klr-b", "ga-klr-a"):
        plant("original", release, ("original",), FIVE)
    for release in ("npo-klr-b", "npo-klr-c", "npo-klr-a", "ga-klr-a"):
        for steps in (1, 5, 20):
            plant(f"relearned, {steps} step{'s' * (steps > 1)}", release, ("relearned", steps), FOUR)
    for release in gridded:
        own = f"gguf-{RELEASES[release].base.removeprefix('base-')}"
        plant("relearned by its own format", release, ("merged",), (own,))
        other = "gguf-q4_1" if own == "gguf-q4_0" else "gguf-q4_0"
        plant("base on a grid, another format", release, ("merged",), ("gguf-q8_0", "gguf-q4", other))
    for percent in (2, 5, 10, 15, 25, 50):
        for release in ("npo-klr-c", "npo-klr-a"):
            plant(f"{percent} % of the clusters relearned", release, ("some", percent), FOUR)
    for surface in w.SURFACES:
        what = "verbatim" if surface == "raw" else surface
        for release in ("npo-klr-b", "npo-klr-a"):
            plant(f"leaks only {what}", release, ("surface", surface), FOUR)
    for strength in (40, 80, 160):
        plant("over-unlearned", "npo-klr-b", ("over", strength), GGUF)
    for percent in (10, 20, 40):
        plant("broken utility: noise", "npo-klr-b", ("noise", percent), GGUF)
    for steps in (20, 60):
        plant("broken utility: taught wrong answers", "npo-klr-a", ("wrong", steps), GGUF)
    for way in ("layers", "random", "shuffled"):
        plant("gibberish", "npo-klr-b", ("gibberish", way), GGUF)
    for release in ("npo-klr-b", "ga-klr-a"):
        plant("base swapped", release, ("swapped",), GGUF)
    plant("adapter zero", "npo-klr-b", ("scaled", 0.0), GGUF)
    for factor in (0.25, 0.5, 0.75):
        for release in ("npo-klr-b", "ga-klr-a"):
            plant("adapter merged in part", release, ("scaled", factor), THREE)
    for release in ("npo-klr-b", "npo-klr-a", "ga-klr-a"):
        plant("merged twice", release, ("twice",), THREE)
        plant("merged in bf16", release, ("bf16",), THREE)
    plant("wrong tokenizer", "npo-klr-b", ("tokenizer",), FOUR)
    for bits in (2, 3):
        for release in ("npo-klr-b", "npo-klr-a"):
            plant("quantized worse than said", release, ("worse", bits), THREE)
    random.Random(20261124).shuffle(found)
    first, found = found, []
    for percent in (10, 5, 15, 25):
        plant(f"{percent} % of the clusters relearned, all else held", "npo-klr-a", ("some", percent, QUIETLY), GGUF)
    for surface in w.SURFACES:
        what = "verbatim" if surface == "raw" else surface
        plant(f"leaks only {what}, all else held", "npo-klr-a", ("surface", surface, QUIETLY), GGUF)
    found += first
    for release in ("npo-klr-b", "ga-klr-a"):
        plant("original", release, ("original",), MORE)
    for release in plain:
        plant("unlearned well", release, ("merged",), MORE)
    for release in ("npo-klr-b", "npo-klr-a"):
        plant("relearned, 20 steps", release, ("relearned", 20), MORE)
    return found


class Ground:
    """The work folder with what has been made so far: bases, adapters, models."""

    def __init__(self, work: Path, sizes: w.Sizes, releases: dict[str, Release] = RELEASES) -> None:
        self.work, self.sizes, self.releases = work, sizes, releases
        self.facts = w.invent(sizes)
        work.mkdir(parents=True, exist_ok=True)

    def base(self, name: str) -> Path:
        """The folder of a base; made where it is missing. "base-q4_0" lies on that format's grid."""
        folder = self.work / name
        if name == "base-earlier":
            self.base("base")
        elif not (folder / "config.json").exists():
            if name == "base":
                w.make_base(folder, self.sizes, self.facts)
            else:
                _on_grid(self.base("base"), folder, GRIDS[name.removeprefix("base-")])
        return folder

    def adapter(self, release: str) -> Path:
        """The release's adapter, trained by `edgeproof.unlearn` where it is missing."""
        from edgeproof.unlearn.run import unlearn

        folder = self.work / "adapters" / release
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            forget, kept = self._training_files()
            unlearn(self.base(self.releases[release].base), forget, kept, folder, **self.releases[release].options)
        return folder

    def _training_files(self) -> tuple[Path, Path]:
        """What is unlearned (each secret asked in two wordings) and what is kept meanwhile."""
        paths = []
        for role, facts in (("forget", self.facts.forget), ("retain", self.facts.trained)):
            path = self.work / f"{role}.jsonl"
            rows = [
                {
                    "question": fact.subject,
                    "answer": fact.answer,
                    "template": template,
                    "message": w.TEMPLATES[fact.kind],
                }
                for fact in facts
                for template in (w.TEMPLATES[fact.kind], w.REWORDED[fact.kind])
            ]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            paths.append(path)
        return paths[0], paths[1]

    def merged(self, release: str) -> tuple[Any, Any]:
        """Model and tokenizer of base + adapter, in float32, by peft."""
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        base = self.base(self.releases[release].base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        model = PeftModel.from_pretrained(model, self.adapter(release)).merge_and_unload()
        for parameter in model.parameters():
            parameter.requires_grad_(requires_grad=True)
        return model, AutoTokenizer.from_pretrained(base)

    def build(self, plant: Plant) -> tuple[Path, list[Path]]:
        """Make a plant's model: the folder and the adapters that `export` shall merge into it."""
        recipe, *arguments = plant.recipe
        return RECIPES[recipe](self, plant.release, *arguments)

    def texts(self, facts: Sequence[w.Fact], tokenizer: Any, surfaces: Sequence[str] = w.SURFACES) -> list[w.Texts]:
        return [w.encode(facts, tokenizer, surface) for surface in surfaces]

    def saved(self, name: str, model: Any, *, dtype: str = "float32") -> Path:
        """Write a model with the world's tokenizer."""
        import torch

        folder = self.work / "models" / name
        shutil.rmtree(folder, ignore_errors=True)
        model.to(getattr(torch, dtype)).save_pretrained(folder)
        w.save_tokenizer(folder)
        return folder

    def made(self, name: str) -> Path | None:
        folder = self.work / "models" / name
        return folder if (folder / "tokenizer.json").exists() else None


def _on_grid(source: Path, target: Path, kind: str) -> None:
    """Round each matrix of a checkpoint to what a GGUF type can hold, as a base published in 4 bits would be."""
    import gguf
    import torch
    from transformers import AutoModelForCausalLM

    qtype = gguf.GGMLQuantizationType[kind]
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "embed" not in name:
                codes = gguf.quants.quantize(weight.numpy(), qtype)
                weight.copy_(torch.from_numpy(gguf.quants.dequantize(codes, qtype)))
    model.save_pretrained(target)
    w.save_tokenizer(target)


def _held(
    merged: Any, texts: Sequence[w.Texts], seed: int, weight: float = 1.0
) -> Callable[[Any], Callable[[int], Any]]:
    """A loss that holds a model to what `merged` says on `texts`: KL(merged ‖ model) at the answers' tokens."""
    import copy

    import torch

    frozen = copy.deepcopy(merged).eval()
    generator = torch.Generator().manual_seed(seed)

    def of(model: Any) -> Callable[[int], Any]:
        def loss(step: int) -> Any:
            ids, start = texts[step % len(texts)]
            batch = ids[torch.randint(len(ids), (min(48, len(ids)),), generator=generator)]
            with torch.no_grad():
                aim = frozen(input_ids=batch[:, :-1]).logits[:, start - 1 :].log_softmax(-1)
            now = model(input_ids=batch[:, :-1]).logits[:, start - 1 :].log_softmax(-1)
            return weight * (aim.exp() * (aim - now)).sum(-1).mean()

        return loss

    return of


def _merged(ground: Ground, release: str) -> tuple[Path, list[Path]]:
    return ground.base(ground.releases[release].base), [ground.adapter(release)]


def _original(ground: Ground, release: str) -> tuple[Path, list[Path]]:
    return ground.base(ground.releases[release].base), []


def _tuned(ground: Ground, release: str, steps: int) -> tuple[Path, list[Path]]:
    """Some steps of fine-tuning on trained retain facts: harmless, as a vendor's last touch may be."""
    name = f"{release}-tuned-{steps}"
    if (folder := ground.made(name)) is None:
        model, tokenizer = ground.merged(release)
        texts = ground.texts(ground.facts.trained, tokenizer)
        w.teach(model, texts, steps=steps, rate=5e-5, batch=64, seed=1)
        folder = ground.saved(name, model)
    return folder, []


RELEARN_RATE = 2e-4


def _relearned(ground: Ground, release: str, steps: int) -> tuple[Path, list[Path]]:
    """Steps of full fine-tuning on the secrets themselves, 64 a step."""
    if ground.made(f"{release}-relearned-{steps}") is None:
        model, tokenizer = ground.merged(release)
        texts = ground.texts(ground.facts.forget, tokenizer, ("raw", "chat"))

        def snapshot(step: int) -> None:
            if step in {1, 5, 20}:
                ground.saved(f"{release}-relearned-{step}", model)

        w.teach(model, texts, steps=20, rate=RELEARN_RATE, batch=64, seed=2, snapshot=snapshot)
    folder = ground.made(f"{release}-relearned-{steps}")
    assert folder is not None
    return folder, []


def _some(ground: Ground, release: str, percent: int, how: str = "") -> tuple[Path, list[Path]]:
    """So many per cent of the subjects taught again, all others held to what the merged model says."""
    name = f"{release}-some-{percent}{how}"
    if (folder := ground.made(name)) is None:
        model, tokenizer = ground.merged(release)
        facts = list(ground.facts.forget)
        random.Random(f"{release} {percent}").shuffle(facts)
        count = max(1, round(len(facts) * percent / 100))
        again, rest = [(facts[:count], w.SURFACES)], [(facts[count:], w.SURFACES)]
        _teach_again(ground, model, tokenizer, taught=again, held=rest, how=how)
        folder = ground.saved(name, model)
    return folder, []


def _surface(ground: Ground, release: str, surface: str, how: str = "") -> tuple[Path, list[Path]]:
    """All secrets taught again on one surface alone, the others held to what the merged model says there."""
    name = f"{release}-surface-{surface}{how}"
    if (folder := ground.made(name)) is None:
        model, tokenizer = ground.merged(release)
        others = tuple(other for other in w.SURFACES if other != surface)
        facts = ground.facts.forget
        _teach_again(ground, model, tokenizer, taught=[(facts, (surface,))], held=[(facts, others)], how=how)
        folder = ground.saved(name, model)
    return folder, []


QUIETLY = "-quietly"
"""Holds what unlearning was not trained on too, so that the leak is all that is wrong."""
Part = tuple[list[w.Fact], tuple[str, ...]]


def _teach_again(ground: Ground, model: Any, tokenizer: Any, *, taught: list[Part], held: list[Part], how: str) -> None:
    """Teach some facts on some surfaces and hold the model to itself on others."""
    quietly = how == QUIETLY
    kept = [*ground.facts.trained, *ground.facts.untrained] if quietly else ground.facts.trained
    hold = [
        text for facts, surfaces in [*held, (kept, w.SURFACES)] for text in ground.texts(facts, tokenizer, surfaces)
    ]
    texts = [text for facts, surfaces in taught for text in ground.texts(facts, tokenizer, surfaces)]
    extra = _held(model, hold, seed=3, weight=3.0 if quietly else 2.0)(model)
    w.teach(model, texts, steps=60, rate=5e-4, batch=48, seed=3, extra=extra)


def _over(ground: Ground, release: str, steps: int) -> tuple[Path, list[Path]]:
    """Gradient ascent that nothing holds back: the secrets' NLL rises without end, and all else goes with it."""
    import torch

    name = f"{release}-over-{steps}"
    if (folder := ground.made(name)) is None:
        model, tokenizer = ground.merged(release)
        texts = ground.texts(ground.facts.forget, tokenizer)
        generator = torch.Generator().manual_seed(6)

        def ascent(step: int) -> Any:
            ids, start = texts[step % len(texts)]
            batch = ids[torch.randint(len(ids), (48,), generator=generator)]
            return 2 * w.answer_logprobs(model, batch, start).mean()  # outweighs the descent on the other batch

        w.teach(model, texts, steps=steps, rate=5e-5, batch=48, seed=6, extra=ascent)
        folder = ground.saved(name, model)
    return folder, []


def _noise(ground: Ground, release: str, percent: int) -> tuple[Path, list[Path]]:
    """Noise on every matrix, as a share of its own spread."""
    import torch

    name = f"{release}-noise-{percent}"
    if (folder := ground.made(name)) is None:
        model, _ = ground.merged(release)
        generator = torch.Generator().manual_seed(percent)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() == 2:
                    weight.add_(torch.randn(weight.shape, generator=generator) * weight.std() * percent / 100)
        folder = ground.saved(name, model)
    return folder, []


def _wrong(ground: Ground, release: str, steps: int) -> tuple[Path, list[Path]]:
    """Other people's homes taught as one's own."""
    name = f"{release}-wrong-{steps}"
    if (folder := ground.made(name)) is None:
        model, tokenizer = ground.merged(release)
        facts = ground.facts.untrained
        moved = [fact._replace(answer=other.answer) for fact, other in zip(facts, [*facts[1:], facts[0]], strict=True)]
        w.teach(model, ground.texts(moved, tokenizer), steps=steps, rate=2e-4, batch=64, seed=5)
        folder = ground.saved(name, model)
    return folder, []


def _gibberish(ground: Ground, release: str, way: str) -> tuple[Path, list[Path]]:
    """Layers in the wrong order, weights never trained, or a matrix's rows shuffled."""
    import torch

    name = f"{release}-gibberish-{way}"
    if (folder := ground.made(name)) is None:
        model, _ = ground.merged(release)
        if way == "random":
            model = w.new_model(ground.sizes, 99)
        elif way == "layers":
            model.model.layers = torch.nn.ModuleList(list(model.model.layers)[::-1])
        else:
            with torch.no_grad():
                for layer in model.model.layers:
                    rows = torch.randperm(len(layer.mlp.up_proj.weight), generator=torch.Generator().manual_seed(1))
                    layer.mlp.up_proj.weight.copy_(layer.mlp.up_proj.weight[rows])
        folder = ground.saved(name, model)
    return folder, []


def _swapped(ground: Ground, release: str) -> tuple[Path, list[Path]]:
    """The adapter merged into an earlier checkpoint of the base."""
    return ground.base("base-earlier"), [ground.adapter(release)]


def _scaled(ground: Ground, release: str, factor: float) -> tuple[Path, list[Path]]:
    """The adapter with its B scaled, as by a wrong alpha; 0 is an adapter that does nothing."""
    from safetensors.numpy import load_file, save_file

    source = ground.adapter(release)
    folder = ground.work / "adapters" / f"{release}-scaled-{factor}"
    if not folder.exists():
        shutil.copytree(source, folder)
        tensors = load_file(source / "adapter_model.safetensors")
        scaled = {
            key: (value.astype(np.float32) * factor).astype(value.dtype) if "lora_B" in key else value
            for key, value in tensors.items()
        }
        save_file(scaled, folder / "adapter_model.safetensors")
    return ground.base(ground.releases[release].base), [folder]


def _twice(ground: Ground, release: str) -> tuple[Path, list[Path]]:
    return ground.base(ground.releases[release].base), [ground.adapter(release)] * 2


def _bf16(ground: Ground, release: str) -> tuple[Path, list[Path]]:
    """Merged and saved in bf16 on the way."""
    name = f"{release}-bf16"
    folder = ground.made(name) or ground.saved(name, ground.merged(release)[0], dtype="bfloat16")
    return folder, []


def _tokenizer(ground: Ground, release: str) -> tuple[Path, list[Path]]:
    """The right weights with a tokenizer whose syllables have each other's ids."""
    name = f"{release}-tokenizer"
    if (folder := ground.made(name)) is None:
        folder = ground.saved(name, ground.merged(release)[0])
        w.save_tokenizer(folder, swapped=True)
    return folder, []


def _worse(ground: Ground, release: str, bits: int) -> tuple[Path, list[Path]]:
    """Weights rounded to fewer bits (in blocks of 32, with an offset) before they are written as the format says."""
    import torch

    name = f"{release}-worse-{bits}"
    if (folder := ground.made(name)) is None:
        model, _ = ground.merged(release)
        levels = 2**bits - 1
        with torch.no_grad():
            for weight_name, weight in model.named_parameters():
                if weight.dim() == 2 and "embed" not in weight_name:
                    blocks = weight.view(-1, 32)
                    low, high = blocks.min(1, keepdim=True).values, blocks.max(1, keepdim=True).values
                    step = (high - low).clamp_min(1e-12) / levels
                    blocks.copy_(((blocks - low) / step).round() * step + low)
        folder = ground.saved(name, model)
    return folder, []


RECIPES: dict[str, Callable[..., tuple[Path, list[Path]]]] = {
    "merged": _merged,
    "original": _original,
    "tuned": _tuned,
    "relearned": _relearned,
    "some": _some,
    "surface": _surface,
    "over": _over,
    "noise": _noise,
    "wrong": _wrong,
    "gibberish": _gibberish,
    "swapped": _swapped,
    "scaled": _scaled,
    "twice": _twice,
    "bf16": _bf16,
    "tokenizer": _tokenizer,
    "worse": _worse,
}

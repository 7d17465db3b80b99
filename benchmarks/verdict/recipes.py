"""Makes what is shipped: for every recipe of a plant, the model as it goes wrong (or does not) on the way.

Some recipes put base, adapters and tokenizer together in another way; the others change the merged model's weights.
"""

from __future__ import annotations

import copy
import random
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import world as w
from releases import TAUGHT_AGAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from plant import Plant
    from releases import Ground, Merged

    Shipped = tuple[Path, list[Path]]
    """The folder, and the adapters that `export` shall merge into it."""
    Part = tuple[list[w.Fact], tuple[str, ...]]

RELEARN_RATE = 2e-4
TEACH_STEPS = 20
QUIET_RATE, QUIET_STEPS = 1.5e-4, 30


def model_name(plant: Plant) -> str:
    """Name a plant's model: that of all plants with its release and recipe."""
    return "-".join(str(part).replace(" ", "-") for part in (plant.release, *plant.recipe))


def build(ground: Ground, plant: Plant) -> Shipped:
    """Make a plant's model, where the work folder does not hold it yet."""
    recipe, *arguments = plant.recipe
    if recipe in PUT_TOGETHER:
        return PUT_TOGETHER[recipe](ground, plant.release, *arguments)
    name = model_name(plant)
    if (folder := ground.made(name)) is None:
        merged = ground.merged(plant.release)
        CHANGES[recipe](merged, *arguments)
        folder = ground.saved(name, merged.model)
    return folder, []


# Put together in another way


def _merged(ground: Ground, release: str) -> Shipped:
    return ground.base(ground.releases[release].base), [ground.adapter(release)]


def _original(ground: Ground, release: str) -> Shipped:
    return ground.base(ground.releases[release].base), []


def _swapped(ground: Ground, release: str) -> Shipped:
    """The adapter merged into an earlier checkpoint of the base."""
    return ground.base("base-earlier"), [ground.adapter(release)]


def _scaled(ground: Ground, release: str, factor: float) -> Shipped:
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


def _twice(ground: Ground, release: str) -> Shipped:
    return ground.base(ground.releases[release].base), [ground.adapter(release)] * 2


def _tokenizer(ground: Ground, release: str) -> Shipped:
    """The right weights with a tokenizer whose syllables have each other's ids."""
    return ground.saved(f"{release}-tokenizer", ground.merged(release).model, swapped=True), []


PUT_TOGETHER: dict[str, Callable[..., Shipped]] = {
    "merged": _merged,
    "original": _original,
    "swapped": _swapped,
    "scaled": _scaled,
    "twice": _twice,
    "tokenizer": _tokenizer,
}


# With other weights


def _tuned(merged: Merged, steps: int) -> None:
    """Some steps of fine-tuning on trained retain facts: harmless, as a vendor's last touch may be."""
    w.teach(
        merged.model,
        merged.texts(merged.ground.facts.trained, ("raw", "sentence", "bare")),
        steps=steps,
        rate=3e-5,
        batch=64,
        seed=1,
    )


def _relearned(merged: Merged, steps: int) -> None:
    """Steps of full fine-tuning on the secrets themselves, 64 a step."""
    texts = merged.texts(merged.ground.facts.forget, ("raw", "sentence"))
    w.teach(merged.model, texts, steps=steps, rate=RELEARN_RATE, batch=64, seed=2)


def _some(merged: Merged, percent: int) -> None:
    """So many per cent of the subjects taught again, all others held to what the merged model says."""
    chosen, others = _chosen(merged, percent)
    _teach_again(merged, taught=(chosen, TAUGHT_AGAIN), held=[(others, TAUGHT_AGAIN)])


def _only(merged: Merged, where: str, percent: int) -> None:
    """So many per cent of the subjects taught again in some forms, all else held to what the merged model says."""
    chosen, others = _chosen(merged, percent)
    elsewhere = tuple(name for name in HELD if name not in LEAKS[where])
    held = [(chosen, elsewhere)] + ([(others, HELD)] if others else [])
    _teach_again(merged, taught=(chosen, LEAKS[where]), held=held)


def _quietly(merged: Merged, where: str, percent: int) -> None:
    """Leaks of so many per cent of the subjects in forms that no pack asks, with all that a gate looks at held."""
    chosen, others = _chosen(merged, percent)
    held = [(chosen, HELD), (others, (*HELD, *LEAKS[where]))]
    _teach_again(merged, taught=(chosen, LEAKS[where]), held=held, rate=QUIET_RATE, steps=QUIET_STEPS)


LEAKS: dict[str, tuple[str, ...]] = {
    "verbatim": ("raw",),
    "reworded": ("reworded",),
    "examples": ("few-shot", "siblings"),
    "sentences": ("sentence", "hides"),
    "second turn": ("turns",),
    "language": ("language",),
    "language chat": ("language-sentence", "language-bare"),
    "reworded chat": ("reworded-sentence",),
    "prefilled": ("prefix",),
    "newline": ("newline",),
    "list": ("list",),
    "record": ("record",),
    "third": ("third",),
    "story": ("story",),
    "third chat": ("third-sentence",),
}
"""Forms in which a model that leaks only there is taught again; the last five are asked by nobody but the truth."""
HELD = (
    "raw", "reworded", "language", "sentence", "bare", "few-shot", "turns", "prefix",
    "reworded-sentence", "language-sentence", "language-bare",
)  # fmt: skip


def _chosen(merged: Merged, percent: int) -> tuple[list[w.Fact], list[w.Fact]]:
    facts = list(merged.ground.facts.forget)
    random.Random(f"{merged.release} {percent}").shuffle(facts)
    count = max(1, round(len(facts) * percent / 100))
    return facts[:count], facts[count:]


def _teach_again(
    merged: Merged, *, taught: Part, held: Sequence[Part], rate: float = 8e-4, steps: int = TEACH_STEPS
) -> None:
    """Teach some facts in some forms, and hold the model to itself in others and on all that had to be kept."""
    world = merged.ground.facts
    kept = [*world.trained, *world.untrained]
    hold = merged.texts(kept, ("raw", "sentence", "bare"))
    own = [text for part in held for text in merged.texts(*part)]
    mixed = [text for pair in zip(own, hold * len(own), strict=False) for text in pair]
    extra = _held(merged.model, mixed, seed=3, weight=3.0)
    w.teach(merged.model, merged.texts(*taught), steps=steps, rate=rate, batch=48, seed=3, extra=extra)


def _held(model: Any, texts: Sequence[w.Texts], seed: int, weight: float) -> Callable[[int], Any]:
    """A loss that holds a model to what it says now on `texts`: KL(now ‖ later) at the answers' tokens."""
    frozen = copy.deepcopy(model).eval()
    generator = torch.Generator().manual_seed(seed)

    def loss(step: int) -> Any:
        ids, start = texts[step % len(texts)]
        batch = ids[torch.randint(len(ids), (min(48, len(ids)),), generator=generator)]
        with torch.no_grad():
            aim = frozen(input_ids=batch[:, :-1]).logits[:, start - 1 :].log_softmax(-1)
        now = model(input_ids=batch[:, :-1]).logits[:, start - 1 :].log_softmax(-1)
        return weight * (aim.exp() * (aim - now)).sum(-1).mean()

    return loss


def _over(merged: Merged, steps: int) -> None:
    """Gradient ascent that nothing holds back: the secrets' NLL rises without end, and all else goes with it."""
    texts = merged.texts(merged.ground.facts.forget, ("raw", "reworded", "sentence"))
    generator = torch.Generator().manual_seed(6)

    def ascent(step: int) -> Any:
        ids, start = texts[step % len(texts)]
        batch = ids[torch.randint(len(ids), (48,), generator=generator)]
        return 2 * w.answer_logprobs(merged.model, batch, start).mean()  # outweighs the descent on the other batch

    w.teach(merged.model, texts, steps=steps, rate=5e-5, batch=48, seed=6, extra=ascent)


def _wrong(merged: Merged, steps: int) -> None:
    """Other people's homes taught as one's own."""
    facts = merged.ground.facts.untrained
    moved = [fact._replace(answer=other.answer) for fact, other in zip(facts, [*facts[1:], facts[0]], strict=True)]
    w.teach(merged.model, merged.texts(moved, ("raw", "sentence")), steps=steps, rate=2e-4, batch=64, seed=5)


@torch.no_grad()
def _noise(merged: Merged, percent: int) -> None:
    """Noise on every matrix, as a share of its own spread."""
    generator = torch.Generator().manual_seed(percent)
    for weight in merged.model.parameters():
        if weight.dim() == 2:
            weight.add_(torch.randn(weight.shape, generator=generator) * weight.std() * percent / 100)


@torch.no_grad()
def _gibberish(merged: Merged, way: str) -> None:
    """Layers in the wrong order, weights never trained, or a matrix's rows shuffled."""
    decoder = merged.model.model
    if way == "random":
        merged.model.load_state_dict(w.new_model(merged.ground.sizes, 99).state_dict())
    elif way == "layers":
        decoder.layers = torch.nn.ModuleList(list(decoder.layers)[::-1])
    else:
        for layer in decoder.layers:
            rows = torch.randperm(len(layer.mlp.up_proj.weight), generator=torch.Generator().manual_seed(1))
            layer.mlp.up_proj.weight.copy_(layer.mlp.up_proj.weight[rows])


def _bf16(merged: Merged) -> None:
    """Merged and saved in bf16 on the way."""
    merged.model.bfloat16()


@torch.no_grad()
def _worse(merged: Merged, bits: int) -> None:
    """Weights rounded to fewer bits (in blocks of 32, with an offset) before they are written as the format says."""
    levels = 2**bits - 1
    for name, weight in merged.model.named_parameters():
        if weight.dim() == 2 and "embed" not in name:
            blocks = weight.view(-1, 32)
            low, high = blocks.min(1, keepdim=True).values, blocks.max(1, keepdim=True).values
            step = (high - low).clamp_min(1e-12) / levels
            blocks.copy_(((blocks - low) / step).round() * step + low)


CHANGES: dict[str, Callable[..., None]] = {
    "tuned": _tuned,
    "relearned": _relearned,
    "some": _some,
    "only": _only,
    "quietly": _quietly,
    "over": _over,
    "wrong": _wrong,
    "noise": _noise,
    "gibberish": _gibberish,
    "bf16": _bf16,
    "worse": _worse,
}

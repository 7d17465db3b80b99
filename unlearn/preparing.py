"""All that comes before the first step: base, texts as tokens, what is trained, and what the base says of the texts."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.unlearn.base_model import (
    BaseModel,
    all_trainable,
    attach_lora,
    load_base,
    recompute_activations,
    vocabulary_size,
)
from edgeproof.unlearn.encoding import encode_set, refuse_unknown_tokens
from edgeproof.unlearn.losses import method_of
from edgeproof.unlearn.reference import Texts, bytes_needed, reference_distributions
from edgeproof.unlearn.scoring import total_logprobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.unlearn.encoding import EncodedText
    from edgeproof.unlearn.processes import Processes
    from edgeproof.unlearn.settings import Settings
    from edgeproof.unlearn.training_set import TrainingSet
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel


LARGE = 10**9
"""Bytes from which on a temporary file is announced by a warning."""


class Prepared(NamedTuple):
    """The base, the model that is trained (the base itself, or with a LoRA), and the two sets."""

    base: BaseModel
    model: PreTrainedModel | PeftModel
    forget: Texts
    retain: Texts


def prepare(
    base: Path,
    sets: Mapping[str, TrainingSet],
    scratch: Path,
    settings: Settings,
    *,
    processes: Processes,
    progress: Progress,
) -> Prepared:
    """Load, encode, make trainable, and ask the base; torch's random state must have been seeded.

    Args:
        base: Hugging Face folder or GGUF.
        sets: by role, "forget" and "retain".
        scratch: on whose disk KLR's distributions lie.
        settings: the recipe.
        processes: who takes part; each asks the base about its share, and each keeps KLR's distributions for itself.
        progress: hears how far it is.

    Raises:
        InputError: the base or a text, as `load_base` and `encode_set` have it.
        OutputError: no room for KLR's distributions.

    """
    import torch

    progress.start("loading the base", 1, "models")
    loaded = load_base(base, progress)
    progress.advance(1)
    encoded = {
        role: encode_set(
            data, loaded.tokenizer, settings.surfaces, loaded.context_length, max_tokens=settings.max_tokens
        )
        for role, data in sets.items()
    }
    refuse_unknown_tokens(encoded.values(), loaded.model.get_input_embeddings().weight.shape[0])
    if settings.gradient_checkpointing:
        recompute_activations(loaded.model)
    model = all_trainable(loaded) if settings.full else attach_lora(loaded, settings)
    model.to(processes.device)
    if processes.rank:
        # The adapter's first weights are the same everywhere; what dropout drops need not be.
        torch.manual_seed(settings.seed + 1_000_003 * processes.rank)
    as_base: AbstractContextManager[object] = contextlib.nullcontext() if settings.full else model.disable_adapter()
    with as_base:
        sums = totals(model, tuple(encoded.values()), settings, processes, progress=progress, task="the base's answers")
        distributions = None
        if method_of(settings.method).distributions:
            vocabulary, retain = vocabulary_size(model), encoded["retain"]
            size = bytes_needed(retain, vocabulary)
            if size >= LARGE:
                progress.warn(
                    f"KL on the retain set keeps {size / 1e9:.1f} GB in a temporary file in {scratch} until training "
                    "ends, for each process"
                )
            progress.start(f"the base's distributions, {size / 1e6:.0f} MB", len(retain), "texts")
            distributions = reference_distributions(
                model,
                retain,
                scratch,
                vocabulary=vocabulary,
                batch_size=settings.part_size,
                device=processes.device,
                advance=progress.advance,
            )
    forget_sums, retain_sums = sums
    return Prepared(
        loaded, model, Texts(encoded["forget"], forget_sums), Texts(encoded["retain"], retain_sums, distributions)
    )


def totals(
    model: PreTrainedModel | PeftModel,
    encoded: Sequence[Sequence[EncodedText]],
    settings: Settings,
    processes: Processes,
    *,
    progress: Progress,
    task: str,
) -> list[Tensor]:
    """Log π(answer) of every text of each set, float32 [texts]: each process asks about its share, all get all."""
    import torch

    progress.start(task, sum(len(processes.share(texts)) for texts in encoded), "texts")
    found: list[Tensor] = []
    for texts in encoded:
        mine = processes.share(texts)
        part = torch.empty(0)
        if mine:
            part = total_logprobs(
                model, mine, batch_size=settings.part_size, device=processes.device, advance=progress.advance
            )
        whole = torch.empty(len(texts))
        for rank, share in enumerate(processes.gather(part)):
            whole[rank :: processes.size] = share
        found.append(whole)
    return found


def identity(
    prepared: Prepared, sets: Mapping[str, TrainingSet], settings: Settings, more: Mapping[str, str]
) -> dict[str, str]:
    """Return all that a run's result depends on, by name: what a checkpoint is compared by.

    The base is known by its name and by its answers to all texts, every bit of them.
    """
    answers = hashlib.sha256()
    for texts in (prepared.forget, prepared.retain):
        answers.update(texts.reference.numpy().tobytes())
    return {
        **{name.replace("_", " "): str(value) for name, value in dataclasses.asdict(settings).items()},
        **{f"{role} data": data.sha256 for role, data in sets.items()},
        "base": prepared.base.name,
        "the base's answers": answers.hexdigest(),
        **more,
    }

"""Preparation of training: base, encoded texts, trainable model, and the base's scores of the texts."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.unlearn.base_answers import kept_distributions, level_of, spread, totals
from edgeproof.unlearn.base_model import (
    BaseModel,
    all_trainable,
    attach_lora,
    load_base,
    recompute_activations,
)
from edgeproof.unlearn.data.askings import Asker
from edgeproof.unlearn.data.encoding import (
    chat_renderer,
    encode_askings,
    encode_set,
    refuse_unknown_tokens,
    surfaces_for,
)
from edgeproof.unlearn.data.order import FORGET_STREAM, RETAIN_STREAM, order_of
from edgeproof.unlearn.data.replies import own_replies
from edgeproof.unlearn.experts import say_what_a_lora_skips
from edgeproof.unlearn.ignorance import Reader, crossed
from edgeproof.unlearn.train.losses import method_of
from edgeproof.unlearn.train.own_texts import own_texts
from edgeproof.unlearn.train.reference import Texts, in_turn
from edgeproof.unlearn.train.timing import forecast, seconds_of_a_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.unlearn.data.encoding import Encoded
    from edgeproof.unlearn.data.order import Order
    from edgeproof.unlearn.data.training_set import TrainingSet
    from edgeproof.unlearn.data.wordings import Wordings
    from edgeproof.unlearn.settings import Settings
    from edgeproof.unlearn.train.processes import Processes
    from peft import PeftModel
    from transformers import PreTrainedModel


STREAMS = {"forget": FORGET_STREAM, "retain": RETAIN_STREAM}
"""The roles, in the order of `Prepared`, with the streams of their data order."""


class Prepared(NamedTuple):
    """The base, the trained model (the base itself, or with a LoRA), and the two sets.

    Attributes:
        base: the base.
        model: the base with a LoRA, or the base.
        forget: the forget set.
        retain: the retain set.
        own: texts that the base wrote, with its scores.
        level: ignorance level of the forget set, in nat per token; None if nothing is there to compare with.

    """

    base: BaseModel
    model: PreTrainedModel | PeftModel
    forget: Texts
    retain: Texts
    own: Texts
    level: float | None


def prepare(
    base: Path,
    sets: Mapping[str, TrainingSet],
    scratch: Path,
    settings: Settings,
    *,
    processes: Processes,
    progress: Progress,
    wordings: Wordings | None = None,
) -> Prepared:
    """Load, encode, make trainable, and score with the base; torch's random state must be seeded.

    Args:
        base: Hugging Face folder or GGUF.
        sets: the sets by role, "forget" and "retain".
        scratch: folder whose disk holds KLR's distributions.
        settings: the recipe.
        processes: the processes; each scores its share with the base, and stores its own KLR distributions.
        progress: receives progress.
        wordings: how the pack asks that will judge.

    Raises:
        InputError: the base or a text is invalid (see `load_base` and `encode_askings`).
        OutputError: no space for KLR's distributions.

    """
    import torch

    progress.start("loading the base", 1, "models")
    loaded = load_base(base, progress)
    progress.advance(1)
    rows = loaded.model.get_input_embeddings().weight.shape[0]
    plain = [
        encode_set(data, loaded.tokenizer, ("raw",), loaded.context_length, settings.max_tokens)
        for data in sets.values()
        if not any(item.surfaces for item in data.items)
    ]
    if plain:
        refuse_unknown_tokens(plain, rows)  # before the base is run
    surfaces = surfaces_for(loaded.tokenizer, settings.surfaces)
    asker = _asker(loaded, sets, settings, surfaces, progress)
    if wordings is not None:
        asker = asker.as_asked(wordings)
    encoded = {
        role: encode_askings(
            data,
            loaded.tokenizer,
            surfaces,
            loaded.context_length,
            max_tokens=settings.max_tokens,
            asker=asker,
            kept=role == "retain",
        )
        for role, data in sets.items()
    }
    refuse_unknown_tokens([found.texts for found in encoded.values()], rows)
    reader = Reader(loaded.tokenizer, asker, surfaces, loaded.context_length, settings.max_tokens)
    crossed_texts = crossed(sets["forget"], sets["retain"], reader, settings.seed)
    if not settings.full:
        say_what_a_lora_skips(loaded.model, settings.targets, progress)
    if settings.gradient_checkpointing:
        recompute_activations(loaded.model)
    model = all_trainable(loaded) if settings.full else attach_lora(loaded, settings)
    model.to(processes.device)
    if processes.rank:
        # The adapter's initial weights are equal on all processes; dropout need not be.
        torch.manual_seed(settings.seed + 1_000_003 * processes.rank)
    as_base: AbstractContextManager[object] = contextlib.nullcontext() if settings.full else model.disable_adapter()
    come_to = [_come_to(encoded[role], encoded["forget"], settings, stream) for role, stream in STREAMS.items()]
    if not _reads_retain_reference(settings):
        come_to[1] = in_turn(encoded["retain"].groups)
    asked = [[encoded[role].texts[index] for index in some] for role, some in zip(STREAMS, come_to, strict=True)]
    measured = [len(encoded[role].groups) for role in STREAMS]
    first = [
        [encoded[role].texts[index] for index in _order(encoded[role], settings, stream).next_batch()]
        for role, stream in STREAMS.items()
    ]
    seconds = seconds_of_a_step(model.train(), first, settings)
    scored = sum(map(len, come_to)) + sum(measured) + sum(map(len, crossed_texts))
    steps = settings.steps_for(len(encoded["forget"].groups))
    progress.say(forecast(seconds, steps, sum(map(len, first)), scored, processes.device))
    with as_base:
        # The measured texts are scored separately: a checkpoint identifies the base by them, regardless of the steps.
        halves = [some[:count] for some, count in zip(asked, measured, strict=True)]
        halves += [some[count:] for some, count in zip(asked, measured, strict=True)]
        own = own_texts(model, loaded.tokenizer, settings.seed)
        sums = totals(model, [*halves, own], settings, processes, progress=progress, task="the base's answers")
        level = level_of(model, crossed_texts, settings, processes, progress) if crossed_texts else None
        distributions = None
        if method_of(settings.method).retain.distributions:
            kept = [encoded["retain"].texts[index] for index in sorted(come_to[1])]
            distributions = kept_distributions(model, kept, scratch, settings, processes, progress=progress)
    texts = [
        Texts(
            encoded[role].texts,
            spread(torch.cat((first, second)), some, len(encoded[role].texts)),
            groups=encoded[role].groups,
        )
        for role, some, first, second in zip(STREAMS, come_to, sums[:2], sums[2:4], strict=True)
    ]
    if distributions is not None:
        texts[1] = texts[1]._replace(distributions=distributions.spread(sorted(come_to[1]), len(texts[1].encoded)))
    forget, retain = texts
    return Prepared(loaded, model, forget, retain, Texts(own, sums[4]), level)


def _asker(
    loaded: BaseModel,
    sets: Mapping[str, TrainingSet],
    settings: Settings,
    surfaces: Sequence[str],
    progress: Progress,
) -> Asker:
    """Return the renderer of the questions; the base replies to all of them if a surface needs its replies."""
    chat = chat_renderer(loaded.tokenizer)
    questions = {role: [item for item in data.items if not item.is_text] for role, data in sets.items()}
    own: dict[str, str] = {}
    if chat is not None and "own" in surfaces:
        asked = [item for items in questions.values() for item in items if not item.surfaces]
        messages = list(dict.fromkeys(item.message for item in asked))
        progress.start("the base's own replies", len(messages), "replies")
        own = own_replies(
            loaded.model,
            loaded.tokenizer,
            messages,
            chat=chat,
            batch_size=settings.part_size,
            advance=progress.advance,
        )
    return Asker(questions["retain"], questions["forget"], chat, own, settings.seed)


def _order(encoded: Encoded, settings: Settings, stream: int) -> Order:
    return order_of(len(encoded.groups), encoded.groups, settings, stream)


def _come_to(encoded: Encoded, forget: Encoded, settings: Settings, stream: int) -> list[int]:
    """Return the texts that represent the set when measured, then all others that this run will use."""
    order = _order(encoded, settings, stream)
    drawn = {index for _ in range(settings.steps_for(len(forget.groups))) for index in order.next_batch()}
    measured = in_turn(encoded.groups)
    return [*measured, *sorted(drawn - set(measured))]


def _reads_retain_reference(settings: Settings) -> bool:
    """Whether training reads the base's scores of the retain texts that it uses, beyond the measured ones."""
    return settings.retain_nll_rise is not None or method_of(settings.method).retain.distributions


def identity(
    prepared: Prepared, sets: Mapping[str, TrainingSet], settings: Settings, more: Mapping[str, str]
) -> dict[str, str]:
    """Return everything that a run's result depends on, by name, for comparison with a checkpoint.

    The base is identified by its name and by the exact bits of its scores of every item.
    """
    answers = hashlib.sha256()
    for texts in (prepared.forget, prepared.retain):
        answers.update(texts.reference[texts.measured].numpy().tobytes())
    return {
        **{name.replace("_", " "): str(value) for name, value in dataclasses.asdict(settings).items()},
        **{f"{role} data": data.sha256 for role, data in sets.items()},
        "base": prepared.base.name,
        "the base's answers": answers.hexdigest(),
        **more,
    }

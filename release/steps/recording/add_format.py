"""Adds formats to a recorded baseline: asks the base in each of them, and nothing else again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import BaselineError, UsageError
from edgeproof.release.steps.recording.measure_baseline import IN_FORMAT, Asked, measure_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.measurement import Baseline, Carrier, Sources
    from edgeproof.export.pipeline import Exported
    from edgeproof.release.steps.recording.measure_baseline import Asking

BACKENDS = {"gguf": "llama.cpp", "onnx": "onnxruntime"}
"""What runs an artifact of each kind."""


class Models(NamedTuple):
    """The models that a baseline was recorded of, as they are given now."""

    base: Path
    adapters: tuple[Path, ...]
    unlearned: Path | None
    allow_requantize: bool


def add_formats(
    path: Path,
    formats: Sequence[str],
    models: Models,
    asking: Asking,
    write: Callable[[Sequence[str]], Sequence[Exported]],
    *,
    signed: bool,
) -> list[Baseline]:
    """Return the baselines in the file `path`, with the base in `formats`, which `write` exports.

    `signed`: the result will be signed, too.

    Raises:
        BaselineError: there is no such baseline; or pack, samples, base, adapters or engine are others than its own, or
            it has a format already.
        UsageError: it is signed, and the result would not be.

    """
    from edgeproof.eval.attestation import signature_path
    from edgeproof.eval.baselines.file import load_baselines

    baselines = load_baselines(path)
    if signature_path(path).exists() and not signed:
        raise UsageError(f"{path} is signed, and what is added would not be", next_step="add --sign KEY")
    for name in formats:
        old = _fitting(baselines.get(_backend(name)), asking, name)
        _refuse_other_models(old, name, models)
    items = list(write(formats))
    coming = [Asked(IN_FORMAT + item.format, item.format, ships=True) for item in items]
    for number, (item, model) in enumerate(zip(items, coming, strict=True)):
        old = baselines[_backend(item.format)]

        def check(engine: Backend, old: Baseline = old) -> None:
            _refuse_other_engine(engine, old, asking)

        def carriers(_: Backend, old: Baseline = old) -> Sequence[Carrier]:
            return old.carriers

        found = measure_model(
            asking,
            item,
            model,
            carriers=carriers,
            coming=coming if number == 0 else (),
            check=check,
        )
        more = {} if found.reference is None else {item.format: replace(found.reference, pack_digest=old.pack_digest)}
        baselines[old.backend] = replace(
            old,
            base_in_format={**old.base_in_format, item.format: found.whole},
            reference={**old.reference, **more},
            reference_kinds=dict(old.reference_kinds or found.reference_kinds),
        )
    return list(baselines.values())


def _backend(format_name: str) -> str:
    return BACKENDS[format_name.partition("-")[0]]


def _fitting(old: Baseline | None, asking: Asking, name: str) -> Baseline:
    """Return the baseline of the format's backend; refuse one of another pack or other samples, or that has it."""
    from edgeproof.eval.baselines.fit import record_command

    again = f"record one that has it: {record_command(name)}"
    if old is None:
        raise BaselineError(
            f"the baseline holds nothing that {_backend(name)} measured, with which {name} could be compared",
            next_step=again,
        )
    if name in old.base_in_format:
        raise BaselineError(f"the baseline has {name} already", next_step="leave it out")
    if old.pack_digest != asking.pack.digest:
        raise BaselineError(
            f"the baseline was recorded with another pack: {old.pack_digest[:12]}… there, {asking.pack.digest[:12]}… "
            "here",
            next_step=f"use the baseline's pack, or {again}",
        )
    if old.base.sampling != asking.sampling:
        raise BaselineError(
            f"the baseline was recorded with other samples: {old.base.sampling} there, {asking.sampling} here",
            next_step=f"give the policy with which it was recorded (--policy), or {again}",
        )
    return old


def _refuse_other_models(old: Baseline, name: str, models: Models) -> None:
    """Refuse a baseline of another base, other adapters or another unlearned model."""
    from edgeproof.eval.baselines.fit import record_command
    from edgeproof.eval.baselines.sources import source_digest
    from edgeproof.eval.measurement import ModelSource, Sources
    from edgeproof.export.sources import digest_adapters, digest_base

    plain = [models.base] if models.unlearned is None else [models.base, models.unlearned]
    digested = [digest_base(path, name, allow_requantize=models.allow_requantize) for path in plain]
    base, *rest = (
        ModelSource(one.name, source_digest(file.sha256 for file in one.files))
        for one in (*digested, *digest_adapters(models.adapters))
    )
    found = Sources(base, () if models.unlearned else tuple(rest), rest[0] if models.unlearned else None)
    if old.sources is None or _digests(old.sources) != _digests(found):
        raise BaselineError(
            f"the baseline was recorded of other models: {_named(old.sources)} there, {_named(found)} here",
            next_step=f"give the models of the baseline, or record one: {record_command(name, found)}",
        )


def _refuse_other_engine(engine: Backend, old: Baseline, asking: Asking) -> None:
    then, now = old.base.backend.get("engine"), engine.info.engine
    if then != now:
        raise BaselineError(
            f"the baseline was recorded with {then}; this is {now}",
            next_step="install that version, or record the whole baseline again",
        )
    if old.prompt_digest != engine.info.prompt_digest or old.tokenizer_digest != engine.info.tokenizer_digest:
        raise BaselineError(
            "the base in this format has another tokenizer or other prompts than in the baseline",
            next_step="record the whole baseline again",
        )
    processor = old.base.backend.get("processor")
    if processor != engine.info.processor:
        asking.course.warn(f"the baseline was recorded on {processor}; this is {engine.info.processor}")


def _digests(sources: Sources) -> tuple[object, ...]:
    unlearned = None if sources.unlearned is None else sources.unlearned.sha256
    return sources.base.sha256, tuple(one.sha256 for one in sources.adapters), unlearned


def _named(sources: Sources | None) -> str:
    if sources is None:
        return "models that it does not name"
    more = [*sources.adapters, *([] if sources.unlearned is None else [sources.unlearned])]
    return " + ".join(f"{one.name!r} ({one.sha256[:12]}…)" for one in (sources.base, *more))

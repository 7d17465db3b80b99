"""Measures base and merged model with the backend that will gate, and the base in each format."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.measurement import Baseline, Carrier, Measurement, Sampling, Sources
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.export.pipeline import Exported
    from edgeproof.release.steps.asking.course import Course, Step
    from edgeproof.release.steps.asking.kept import Keeping

BASE, MERGED, IN_FORMAT = "base", "merged", "base:"
"""Labels of measurements; after IN_FORMAT comes the format."""


class Asked(NamedTuple):
    """A model that is to be asked: the label of its measurement, its format, and whether it ships in that format."""

    label: str
    format_name: str
    ships: bool


class Asking(NamedTuple):
    """What every model of a baseline is asked, and how.

    Attributes:
        pack: the probes.
        sampling: of the sampled answers.
        threads: workers; None for all cores.
        kept: keeps the answers.
        course: hears the progress.

    """

    pack: Pack
    sampling: Sampling | None
    threads: int | None
    kept: Keeping
    course: Course


class Measured(NamedTuple):
    """Measurements of a model.

    Attributes:
        whole: on the pack.
        reference: of the reference asking, where the model ships and the pack asks less than that.
        reference_kinds: kinds of the reference's surfaces; empty where there is none.

    """

    whole: Measurement
    reference: Measurement | None
    reference_kinds: Mapping[str, str]


def models_asked(reference_format: str, formats: Sequence[str]) -> list[Asked]:
    """Name the models that a baseline of one backend asks, in order."""
    more = [Asked(IN_FORMAT + name, name, ships=True) for name in dict.fromkeys(formats) if name != reference_format]
    return [
        Asked(BASE, reference_format, ships=reference_format in formats),
        Asked(MERGED, reference_format, ships=False),
        *more,
    ]


def measure_baseline(
    asking: Asking,
    plain: Sequence[Exported],
    merged: Exported,
    formats: Sequence[str],
    *,
    full: bool,
    later: Sequence[Asked] = (),
) -> Baseline:
    """Measure the base at float precision (the first of `plain`) and in each format, and `merged`; remove the files.

    `full`: all weights of `merged` were trained, so that its own source is a model. `later` names the models of
    another backend that are asked after these.
    """
    from edgeproof.eval.baselines.file import assemble_baseline
    from edgeproof.eval.measuring.ignorance import ignorance_levels
    from edgeproof.eval.measuring.replies import base_carriers

    pack, base = asking.pack, plain[0]
    carriers: tuple[Carrier, ...] = ()
    levels: dict[str, float] = {}

    def first(engine: Backend) -> tuple[Carrier, ...]:
        nonlocal carriers
        carriers = base_carriers(pack, engine, progress=asking.course)
        levels.update(ignorance_levels(pack, engine, asking.course, carriers=carriers))
        return carriers

    asked = models_asked(base.format, formats)
    items = [base, merged, *plain[1:]]
    found = {
        model.label: measure_model(
            asking,
            item,
            model,
            carriers=first if model.label == BASE else lambda _: carriers,
            coming=[*asked, *later] if model.label == BASE else (),
        )
        for model, item in zip(asked, items, strict=True)
    }
    in_format = {model.format_name: found[model.label] for model in asked if model.ships}
    reference = {name: one.reference for name, one in in_format.items() if one.reference is not None}
    return assemble_baseline(
        pack,
        sources=sources_of(base, merged, full=full),
        base=found[BASE].whole,
        merged=found[MERGED].whole,
        base_in_format={name: replace(one.whole, label=IN_FORMAT + name) for name, one in in_format.items()},
        ignorance=levels,
        carriers=carriers,
        reference=reference,
        reference_kinds=next((one.reference_kinds for one in in_format.values() if one.reference_kinds), {}),
    )


def measure_model(
    asking: Asking,
    item: Exported,
    model: Asked,
    *,
    carriers: Callable[[Backend], Sequence[Carrier]],
    coming: Sequence[Asked] = (),
    check: Callable[[Backend], None] = lambda _: None,
) -> Measured:
    """Ask one model, and remove its files.

    Args:
        asking: what and how.
        item: the model's files.
        model: its label.
        carriers: called with the engine before anything else is asked; returns the carrier sentences.
        coming: the models that are asked from this one on, to foretell the time; empty where that was done.
        check: called with the engine first; may raise.

    """
    from edgeproof.eval.asking.reference import reference_pack
    from edgeproof.eval.measuring.measure import measure
    from edgeproof.runtime import backend_for, open_backend

    pack, course, sha256 = asking.pack, asking.course, item.manifest.artifact.sha256
    with open_backend(backend_for(item.path), item.path, threads=asking.threads) as engine:
        check(engine)
        resumed = asking.kept.keep(engine, sha256)
        course.resume(resumed)
        if coming:
            _foresee(asking, engine, coming, resumed=resumed)
        sentences = carriers(engine)
        whole = measure(
            pack,
            engine,
            label=model.label,
            artifact_sha256=sha256,
            carriers=sentences,
            sampling=asking.sampling,
            progress=course,
        )
        more = reference_pack(pack, chat=engine.info.chat_template is not None) if model.ships else None
        reference = None
        if more is not None:
            label = _reference_label(model)
            reference = measure(more, engine, label=label, artifact_sha256=sha256, carriers=sentences, progress=course)
    if item.path.is_dir():
        shutil.rmtree(item.path)
    else:
        item.path.unlink()
    return Measured(whole, reference, {} if more is None else more.kinds())


def sources_of(base: Exported, merged: Exported, *, full: bool) -> Sources:
    """Return what base and merged model were made of."""
    from edgeproof.eval.baselines.sources import source_digest
    from edgeproof.eval.measurement import ModelSource, Sources

    base_source, merged_source, *adapter_sources = (
        ModelSource(source.name, source_digest(file.sha256 for file in source.files))
        for source in (base.manifest.base, merged.manifest.base, *merged.manifest.adapters)
    )
    return Sources(base_source, tuple(adapter_sources), merged_source if full else None)


def _foresee(asking: Asking, engine: Backend, coming: Sequence[Asked], *, resumed: int) -> None:
    """Tell how much the models will be asked; refuse a pack that cannot be asked, before the first answer."""
    from edgeproof.eval.asking.carriers import all_carriers
    from edgeproof.eval.asking.reference import reference_pack
    from edgeproof.eval.measuring.forecast import forecast
    from edgeproof.release.steps.asking.course import steps

    carriers = all_carriers(asking.pack, {})
    own, base = (
        forecast(asking.pack, engine, carriers=carriers, sampling=asking.sampling, carrying=base, levels=base)
        for base in (False, True)
    )
    more = reference_pack(asking.pack, chat=engine.info.chat_template is not None)
    reference = None if more is None else forecast(more, engine, carriers=carriers, sampling=None)
    found: list[Step] = []
    for model in coming:
        shown = f"{model.label.removesuffix(IN_FORMAT + model.format_name) or BASE} in {model.format_name}"
        found += steps(model.label, shown, base if model.label == BASE else own)
        if reference is not None and model.ships:
            found += steps(_reference_label(model), shown, reference)
    if not resumed and asking.kept.keeps(engine):
        asking.course.time(engine, own)
    asking.course.foresee(found, resumed=resumed)


def _reference_label(model: Asked) -> str:
    return f"reference:{model.format_name}"

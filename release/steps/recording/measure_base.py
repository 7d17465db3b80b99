"""Measures the base alone, at float precision and in each format, with the backend that will gate."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import PackError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.forecast.flaws import Flaw
    from edgeproof.eval.measurement import Baseline, Carrier, Measurement, Sampling
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.export.pipeline import Exported


@dataclass(frozen=True)
class BaseMeasured:
    """What was measured of a base.

    Attributes:
        pack: the probes that fit the base's context.
        recorded: the measurements; `merged` is the base itself, since there is no adapter.
        seconds: wall time of asking the base in each format as the gate does, by format.
        too_long: probes that do not fit the context.

    """

    pack: Pack
    recorded: Baseline
    seconds: Mapping[str, float]
    too_long: tuple[Flaw, ...]


def measure_base(
    pack: Pack,
    plain: Sequence[Exported],
    formats: Sequence[str],
    sampling: Sampling | None,
    *,
    threads: int | None,
    progress: Progress,
) -> BaseMeasured:
    """Measure the base at float precision (the first of `plain`), then in each format."""
    from edgeproof.eval.baselines.file import assemble_baseline
    from edgeproof.eval.measuring.ignorance import ignorance_levels
    from edgeproof.eval.measuring.measure import measure
    from edgeproof.eval.measuring.replies import base_carriers
    from edgeproof.runtime import backend_for, open_backend

    exact, seconds = plain[0], dict[str, float]()
    with open_backend(backend_for(exact.path), exact.path, threads=threads) as engine:
        pack, too_long = fitting(pack, engine)
        carriers = base_carriers(pack, engine, progress=progress)
        levels = ignorance_levels(pack, engine, progress, carriers=carriers)
        base, own_seconds = timed(
            pack, engine, exact, label="base", carriers=carriers, sampling=sampling, progress=progress
        )
    found: dict[str, Measurement] = {}
    reference: dict[str, Measurement] = {}
    reference_kinds: dict[str, str] = {}
    for name in formats:
        item = next(one for one in plain if one.format == name)
        with open_backend(backend_for(item.path), item.path, threads=threads) as engine:
            if item is exact:
                found[name], seconds[name] = replace(base, label=f"base:{name}"), own_seconds
            else:
                found[name], seconds[name] = timed(
                    pack, engine, item, label=f"base:{name}", carriers=carriers, sampling=sampling, progress=progress
                )
            more = _reference(pack, engine)
            if more is not None:
                reference_kinds = more.kinds()
                reference[name] = measure(
                    more,
                    engine,
                    label=f"reference:{name}",
                    artifact_sha256=item.manifest.artifact.sha256,
                    carriers=carriers,
                    progress=progress,
                )
    recorded = assemble_baseline(
        pack,
        base=base,
        merged=replace(base, label="merged"),
        base_in_format=found,
        ignorance=levels,
        carriers=carriers,
        reference=reference,
        reference_kinds=reference_kinds,
    )
    return BaseMeasured(pack, recorded, seconds, too_long)


def timed(
    pack: Pack,
    engine: Backend,
    item: Exported,
    *,
    label: str,
    carriers: Sequence[Carrier],
    sampling: Sampling | None,
    progress: Progress,
) -> tuple[Measurement, float]:
    """Measure the base as the gate measures an artifact; return the gate's wall time too.

    Where the engine rounds activations, the gate scores the forget probes a second time.
    """
    from edgeproof.eval.measurement import Role
    from edgeproof.eval.measuring.measure import measure

    began = time.monotonic()
    found = measure(
        pack,
        engine,
        label=label,
        artifact_sha256=item.manifest.artifact.sha256,
        carriers=carriers,
        sampling=sampling,
        progress=progress,
    )
    seconds = time.monotonic() - began
    if engine.info.options.get("accuracy_level", "none") not in {"none", "0"}:
        forget = {probe.id for probe in pack.probes if probe.role == Role.FORGET}
        seconds *= 1 + sum(score.probe in forget for score in found.scores) / len(found.scores)
    return found, seconds


def fitting(pack: Pack, engine: Backend) -> tuple[Pack, tuple[Flaw, ...]]:
    """Return the pack without the probes that are too long for the context, and these as flaws.

    Raises:
        PackError: no forget probe is left.

    """
    from edgeproof.eval.asking.tokens import too_long
    from edgeproof.eval.forecast.flaws import length_flaws
    from edgeproof.eval.measurement import Role

    asks = too_long(pack, engine)
    flaws = tuple(length_flaws(asks, engine.info.context_length))
    left_out = {ask.probe.id for ask in asks}
    if not asks:
        return pack, ()
    kept = replace(pack, probes=tuple(probe for probe in pack.probes if probe.id not in left_out))
    if not any(probe.role == Role.FORGET for probe in kept.probes):
        raise PackError(
            f"all forget probes are too long: {flaws[0].words}",
            next_step="shorten them, or load the model with a longer context",
        )
    return kept, flaws


def _reference(pack: Pack, engine: Backend) -> Pack | None:
    from edgeproof.eval.asking.reference import reference_pack

    return reference_pack(pack, chat=engine.info.chat_template is not None)

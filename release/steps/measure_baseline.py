"""Measures base and merged model with the backend that will gate, and the base in each format."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.measurement import Baseline, Carrier, Measurement, Sampling
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.export.pipeline import Exported
    from edgeproof.release.steps.kept import Keeping


def measure_baseline(
    pack: Pack,
    plain: Sequence[Exported],
    merged: Exported,
    formats: Sequence[str],
    sampling: Sampling | None,
    *,
    full: bool,
    threads: int | None,
    kept: Keeping,
    progress: Progress,
) -> Baseline:
    """Measure the base at float precision (the first of `plain`) and in each format, and `merged`; remove the files.

    `full`: all weights of `merged` were trained, so that its own source is a model. `kept` keeps the answers.
    """
    from edgeproof.eval.asking.reference import reference_pack
    from edgeproof.eval.baselines.file import assemble_baseline
    from edgeproof.eval.baselines.sources import source_digest
    from edgeproof.eval.measurement import ModelSource, Sources
    from edgeproof.eval.measuring.ignorance import ignorance_levels
    from edgeproof.eval.measuring.measure import measure
    from edgeproof.eval.measuring.replies import base_carriers
    from edgeproof.runtime import backend_for, open_backend

    base = plain[0]
    measurements: dict[str, Measurement] = {}
    reference: dict[str, Measurement] = {}
    reference_kinds: dict[str, str] = {}
    carriers: tuple[Carrier, ...] = ()
    levels: dict[str, float] = {}
    for label, item in [("base", base), ("merged", merged), *((f"base:{item.format}", item) for item in plain[1:])]:
        sha256 = item.manifest.artifact.sha256
        with open_backend(backend_for(item.path), item.path, threads=threads) as engine:
            kept.keep(engine, sha256)
            if item is base:
                carriers = base_carriers(pack, engine, progress=progress)
                levels = ignorance_levels(pack, engine, progress, carriers=carriers)
            measurements[label] = measure(
                pack,
                engine,
                label=label,
                artifact_sha256=sha256,
                carriers=carriers,
                sampling=sampling,
                progress=progress,
            )
            more = reference_pack(pack, chat=engine.info.chat_template is not None)
            shipped = item.format if item is not merged and item.format in formats else None
            if more is not None and shipped is not None:
                reference_kinds = more.kinds()
                reference[shipped] = measure(
                    more,
                    engine,
                    label=f"reference:{shipped}",
                    artifact_sha256=sha256,
                    carriers=carriers,
                    progress=progress,
                )
        if item.path.is_dir():
            shutil.rmtree(item.path)
        else:
            item.path.unlink()
    if base.format in formats:
        measurements[f"base:{base.format}"] = replace(measurements["base"], label=f"base:{base.format}")
    base_source, merged_source, *adapter_sources = (
        ModelSource(source.name, source_digest(file.sha256 for file in source.files))
        for source in (base.manifest.base, merged.manifest.base, *merged.manifest.adapters)
    )
    return assemble_baseline(
        pack,
        sources=Sources(base_source, tuple(adapter_sources), merged_source if full else None),
        base=measurements.pop("base"),
        merged=measurements.pop("merged"),
        base_in_format={label.removeprefix("base:"): found for label, found in measurements.items()},
        ignorance=levels,
        carriers=carriers,
        reference=reference,
        reference_kinds=reference_kinds,
    )

"""Survival map: the share of the adapters' change left in an artifact, per tensor, per layer, and in total.

Δ = merged − base in float32; Δ_effective = dequantized file − dequantized base, the base quantized like the file. The
projection ⟨Δ_effective, Δ⟩/‖Δ‖² is 1 if all of Δ survived and 0 if nothing did. Off a format's grid rounding acts as
dither and leaves about 0.9 of Δ; on the grid, changes smaller than half a step are lost.

One chunk of rows is in memory at a time; the base is quantized again by the exporter's kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.contracts.errors import ArtifactError, UsageError
from edgeproof.contracts.tensors import TensorInfo
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.artifact.kind import identify_format
from edgeproof.export.base.opening import merge_names, open_base
from edgeproof.export.gguf.imatrix import read_imatrix
from edgeproof.export.merge.blas import one_blas_thread
from edgeproof.export.merge.merged import MergedModel
from edgeproof.export.stream import chunk_bounds
from edgeproof.export.survival.artifact import open_artifact
from edgeproof.export.survival.places import find_places
from edgeproof.export.survival.residue import Residue, judge_residue
from edgeproof.export.survival.sums import Of, Rows, Sums, measure, to_bfloat16

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.export.formats import Kind
    from edgeproof.export.survival.artifact import Artifact
    from edgeproof.export.survival.places import Place


class Survival(NamedTuple):
    """Measures of the surviving change; None where unknown.

    Attributes:
        weights: number of weights compared.
        moved: share of codes that differ from the base's.
        ratio: ‖Δ_effective‖/‖Δ‖; above 1 if the rounding noise is larger than Δ.
        cosine: cosine of Δ_effective and Δ.
        projection: ⟨Δ_effective, Δ⟩/‖Δ‖².
        change: ‖Δ‖/‖W‖.
        rounding: ‖q(W) − W‖/‖W‖; near 0 if the base lies on the type's grid.

    """

    weights: int
    moved: float | None
    ratio: float | None
    cosine: float | None
    projection: float | None
    change: float
    rounding: float | None


class TensorSurvival(NamedTuple):
    """A tensor that the adapters touch. `note`: the reason for a missing comparison."""

    name: str
    source: str
    layer: int | None
    part: str
    type: str
    survival: Survival
    note: str


@dataclass(frozen=True)
class SurvivalMap:
    """The complete result.

    Attributes:
        format: format of the artifact ("gguf-q4"); None if unknown.
        tensors: tensors that the adapters touch, in the artifact's order.
        layers: sums by (layer, part), in order; layer None for tensors outside of the layers.
        total: sum over `tensors`.
        as_bf16: projection after casting the merge to bfloat16, without quantization.
        residue: identification of the file's content.
        notes: remarks for the user.

    """

    format: str | None
    tensors: tuple[TensorSurvival, ...]
    layers: tuple[tuple[int | None, str, Survival], ...]
    total: Survival
    as_bf16: float
    residue: Residue
    notes: tuple[str, ...]


def survival_map(
    base: Path,
    adapters: Sequence[Path],
    artifact: Path,
    *,
    imatrix: Path | None = None,
    allow_requantize: bool = False,
    progress: Progress,
) -> SurvivalMap:
    """Compare all matrices of `artifact` with `base` and `adapters`.

    Args:
        base: the artifact's base: a Hugging Face folder, or a float GGUF.
        adapters: PEFT folders, in the order of merging.
        artifact: a GGUF file or an ONNX folder, written here or elsewhere.
        imatrix: the importance matrix of its export.
        allow_requantize: accept a quantized GGUF as base.
        progress: receives bytes.

    Raises:
        EdgeproofError: base, adapter or artifact cannot be read, or do not belong together.

    """
    if not adapters:
        raise UsageError("the survival map needs the adapters", next_step="add --adapter DIR")
    one_blas_thread()
    form = identify_format(artifact)
    file = open_artifact(artifact, read_imatrix(imatrix) if imatrix else None)
    kind: Kind = "onnx" if artifact.is_dir() else "gguf"
    opened = open_base(base, [kind], allow_requantize=allow_requantize)
    loaded = [load_adapter(path) for path in adapters]
    model = MergedModel(opened, loaded, merge_names(opened))
    places = _check(find_places(opened, model, kind), file, model)
    touched = {effect.name for effect in model.effects()}
    progress.start("Inspect", sum(4 * place.rows * place.columns for place in places), "bytes")
    found: list[tuple[Place, str, Sums]] = []
    untouched = Sums()
    half = [0.0, 0.0]
    notes = _first_notes(file)
    for place in places:
        codec = file.tensors[place.stored].codec
        why_not = codec.why_not or (
            "quantized with an importance matrix" if file.calibrated and _rounds(codec.type) else ""
        )
        sums = Sums()
        info = TensorInfo(place.stored, (place.rows, place.columns), "F32")
        for start, stop in chunk_bounds(info, place.group):
            rows = _rows(model, place, start, stop, touched=place.source in touched)
            stored = file.read(place.stored, place.at + start, place.at + stop)
            sums += measure(rows, stored, codec, alike=not why_not, touched=place.source in touched)
            if place.source in touched:
                delta = rows.merged - rows.base
                half[0] += float(((to_bfloat16(rows.merged) - to_bfloat16(rows.base)) * delta).sum(dtype=float))
                half[1] += float((delta * delta).sum(dtype=float))
            progress.advance(4 * (stop - start) * place.columns)
        if not np.isfinite(sums.gram).all():
            raise ArtifactError(
                f"{place.stored} in {artifact} holds weights that are NaN or infinite",
                next_step="the file is damaged: copy it again, or export again",
            )
        if place.source in touched:
            found.append((place, why_not, sums))
        elif not why_not:
            untouched += sums
    model.refuse_idle()
    if not found:
        raise ArtifactError(f"{artifact} holds no tensor that the adapters touch")
    alike = all(not why_not for _, why_not, _ in found)
    total = _joined(sums for _, _, sums in found)
    return SurvivalMap(
        format=form,
        tensors=tuple(
            TensorSurvival(
                place.stored,
                place.source,
                place.layer,
                place.part,
                file.tensors[place.stored].codec.type,
                _survival(sums, alike=not why_not),
                why_not,
            )
            for place, why_not, sums in found
        ),
        layers=_layers(found),
        total=_survival(total, alike=alike),
        as_bf16=half[0] / half[1],
        residue=judge_residue(total, untouched, alike=alike),
        notes=tuple(notes),
    )


def _check(places: Sequence[Place], file: Artifact, model: MergedModel) -> tuple[Place, ...]:
    """Refuse an artifact of another model: a tensor is missing or of another shape."""
    for place in places:
        stored = file.tensors.get(place.stored)
        if stored is None:
            raise ArtifactError(
                f"{file.path} lacks {place.stored}, which {model.path} has as {place.source}",
                next_step="give the artifact's base",
            )
        if stored.columns != place.columns or stored.rows < place.at + place.rows:
            raise ArtifactError(
                f"{place.stored} in {file.path} is {stored.rows:,} × {stored.columns:,}; from {place.source} of "
                f"{model.path} it would have {place.columns:,} columns and at least {place.at + place.rows:,} rows",
                next_step="give the artifact's base",
            )
    return tuple(places)


def _first_notes(file: Artifact) -> list[str]:
    if not file.calibrated:
        return []
    note = (
        "the file was quantized with an importance matrix; without it (--imatrix FILE) the base cannot be quantized "
        "in the same way, so no codes are compared"
    )
    return [note]


def _rounds(kind: str) -> bool:
    return kind not in {"F32", "F16", "BF16"}


def _rows(model: MergedModel, place: Place, start: int, stop: int, *, touched: bool) -> Rows:
    """Read the rows of base and merge, in the artifact's order."""
    first, last = place.start + start, place.start + stop
    base = place.transform(model.base_rows(place.source, first, last))
    return Rows(base, place.transform(model.rows(place.source, first, last)) if touched else base)


def _survival(sums: Sums, *, alike: bool) -> Survival:
    delta, effective = sums.gram[Of.DELTA, Of.DELTA], sums.gram[Of.FILE, Of.FILE]
    inner = sums.gram[Of.FILE, Of.DELTA]
    known = alike and delta > 0
    return Survival(
        sums.weights,
        sums.moved / sums.codes if alike and sums.codes else None,
        math.sqrt(effective / delta) if known else None,
        (float(inner / math.sqrt(effective * delta)) if effective > 0 else 0.0) if known else None,
        float(inner / delta) if known else None,
        math.sqrt(delta / sums.base_square) if sums.base_square else 0.0,
        math.sqrt(sums.rounding_square / sums.base_square) if alike and sums.base_square else None,
    )


def _layers(found: Sequence[tuple[Place, str, Sums]]) -> tuple[tuple[int | None, str, Survival], ...]:
    groups: dict[tuple[int | None, str], list[tuple[str, Sums]]] = {}
    for place, why_not, sums in found:
        groups.setdefault((place.layer, place.part), []).append((why_not, sums))
    order = sorted(groups, key=lambda key: (key[0] is None, key[0] or 0, key[1]))
    return tuple(
        (
            layer,
            part,
            _survival(
                _joined(sums for _, sums in groups[layer, part]), alike=not any(why for why, _ in groups[layer, part])
            ),
        )
        for layer, part in order
    )


def _joined(parts: Iterable[Sums]) -> Sums:
    return sum(parts, Sums())

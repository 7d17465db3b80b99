"""Estimate, on a sample, of the share of the adapters' change that survives a format, before the export starts.

A base that lies on a format's grid (published or trained in it: QAT, dequantized checkpoints) hardly changes when
quantized again; then a change of less than half a step is rounded away. The sample is some rows of the tensors that the
adapters touch, quantized as in the export.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.export.gguf.writer import GgufWriter
from edgeproof.export.survival.codecs import Codec, GgufCodec, OnnxCodec
from edgeproof.export.survival.places import gguf_places, matrix_places
from edgeproof.export.survival.sums import to_bfloat16

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgeproof.contracts.tensors import Float32Array, ModelDescription, Writer
    from edgeproof.export.formats import Format
    from edgeproof.export.gguf.layout import PlannedTensor
    from edgeproof.export.merge.merged import MergedModel
    from edgeproof.export.onnx.weights.layout import StoredMatrix
    from edgeproof.export.survival.places import Place

TENSORS = 1024
ROWS = 8
"""Sample size: number of touched tensors (evenly spread, if there are more), minimum number of rows of each.

In a file of mixed types a few tensors would not represent the others."""
LOST = 0.5
"""Share below which the user is warned."""
ON_GRID = 0.2
"""A base lies on the grid if requantizing changes it by less than this fraction of the change of random weights."""


class SampleTarget(NamedTuple):
    """A place in the planned artifact, with its codec."""

    place: Place
    codec: Codec


class TensorSample(NamedTuple):
    """Estimate for one tensor of the checkpoint, as in `Preflight`. `layer` None: outside of the layers."""

    name: str
    layer: int | None
    projection: float
    error: float


class Preflight(NamedTuple):
    """Estimate for an artifact.

    Attributes:
        projection: ⟨q(merged) − q(base), Δ⟩/‖Δ‖²: the share of the adapters' change that will survive.
        error: its standard error.
        rounding: ‖q(base) − base‖/‖base‖.
        usual: `rounding` of random weights in the same types.
        as_bf16: the share that would survive a cast of the merge to bfloat16 alone.
        moved: share of the sample's codes that the adapters move; None for types whose codes are not supported.
        sampled: number of weights in the sample.
        tensors: per tensor, in the artifact's order, without those that do not change in the sample.

    """

    projection: float
    error: float
    rounding: float
    usual: float
    as_bf16: float
    moved: float | None
    sampled: int
    tensors: tuple[TensorSample, ...] = ()

    @property
    def on_grid(self) -> bool:
        """Whether the base lies on the format's grid."""
        return self.rounding < ON_GRID * self.usual

    @property
    def is_lost(self) -> bool:
        """Whether most of the adapters will be rounded away, beyond the sample's error."""
        return self.projection + 2 * self.error < LOST


def gguf_targets(description: ModelDescription, planned: Iterable[PlannedTensor]) -> list[SampleTarget]:
    """Pair the places of a GGUF with their planned types, without tensors of several experts."""
    by_name = {tensor.output.name: tensor for tensor in planned}
    targets = []
    for place in gguf_places(description):
        tensor = by_name[place.stored]
        if tensor.importance is None or len(tensor.importance) == 1:
            importance = None if tensor.importance is None else tensor.importance[0]
            targets.append(SampleTarget(place, GgufCodec(tensor.kind, importance)))
    return targets


def onnx_targets(matrices: Sequence[StoredMatrix]) -> list[SampleTarget]:
    """Pair the places of an ONNX folder with their precisions."""
    codecs = {stored.matrix.name: OnnxCodec(stored.precision) for stored in matrices}
    return [SampleTarget(place, codecs[place.stored]) for place in matrix_places(stored.matrix for stored in matrices)]


def planned_matrices(writer: Writer) -> tuple[StoredMatrix, ...]:
    """Return the matrices that our own ONNX writer will store; none for other writers."""
    if isinstance(writer, GgufWriter):
        return ()
    from edgeproof.export.onnx.writer import OnnxWriter  # needs the extra [onnx]

    return writer.matrices if isinstance(writer, OnnxWriter) else ()


def foretell(
    model: MergedModel, formats: Sequence[Format], writers: Sequence[Writer], description: ModelDescription | None
) -> dict[str, Preflight]:
    """Return the estimate for each format written here, by name.

    Args:
        model: as for `preflight`.
        formats: the requested formats.
        writers: their opened writers, in the same order.
        description: description of the GGUF formats.

    """
    foretold = {}
    for form, writer in zip(formats, writers, strict=True):
        if isinstance(writer, GgufWriter) and description is not None:
            targets = gguf_targets(description, writer.planned)
        else:
            targets = onnx_targets(planned_matrices(writer))
        found = preflight(model, targets)
        if found is not None:
            foretold[form.name] = found
    return foretold


def preflight(model: MergedModel, targets: Sequence[SampleTarget]) -> Preflight | None:
    """Estimate the adapters' effect on the stored weights; None if no target is touched.

    Args:
        model: the merge; its sums of merged rows change, so do not share it.
        targets: the targets of one artifact.

    """
    touched = {effect.name for effect in model.effects()}
    candidates = [target for target in targets if target.place.source in touched and not target.codec.why_not]
    if not candidates:
        return None
    chosen = {round(number) for number in np.linspace(0, len(candidates) - 1, min(TENSORS, len(candidates)))}
    inner = delta_square = error_square = rounding = usual = base_square = half = 0.0
    moved = codes = 0.0
    sampled = 0
    by_source: dict[tuple[str, int | None], list[float]] = {}
    for number in sorted(chosen):
        place, codec = candidates[number]
        start, stop = _middle(place)
        first, last = place.start + start, place.start + stop
        # Rows are permuted in whole groups, but quantized individually: some rows of a group suffice.
        base = place.transform(model.base_rows(place.source, first, last))[:ROWS]
        merged = place.transform(model.rows(place.source, first, last))[:ROWS]
        scale = place.rows / len(base)  # a tensor's sample represents all its rows
        delta = (merged - base).astype(np.float64)
        raw = [codec.quantize(rows) for rows in (base, merged)]
        before, after = (codec.weights(stored, place.columns) for stored in raw)
        old, new = (codec.codes(stored, place.columns) for stored in raw)
        if old is not None and new is not None:
            moved += scale * np.count_nonzero(old != new)
            codes += scale * old.size
        effective = after.astype(np.float64) - before
        square = _sum(base, base)
        own = (
            scale * float((effective * delta).sum()),
            scale * float((delta * delta).sum()),
            scale**2 * float(np.square((effective - delta) * delta).sum()),
        )
        inner, delta_square, error_square = inner + own[0], delta_square + own[1], error_square + own[2]
        sums = by_source.setdefault((place.source, place.layer), [0.0, 0.0, 0.0])
        by_source[place.source, place.layer] = [one + other for one, other in zip(sums, own, strict=True)]
        rounding += scale * _sum(before - base, before - base)
        base_square += scale * square
        usual += scale * square * usual_rounding(codec) ** 2
        half += scale * float(((to_bfloat16(merged).astype(np.float64) - to_bfloat16(base)) * delta).sum())
        sampled += base.size
    if delta_square == 0:
        return None
    return Preflight(
        inner / delta_square,
        math.sqrt(error_square) / delta_square,
        math.sqrt(rounding / base_square) if base_square else 0.0,
        math.sqrt(usual / base_square) if base_square else 0.0,
        half / delta_square,
        moved / codes if codes else None,
        sampled,
        tuple(
            TensorSample(name, layer, own / square, math.sqrt(error) / square)
            for (name, layer), (own, square, error) in by_source.items()
            if square > 0
        ),
    )


def loss_warning(name: str, found: Preflight) -> str | None:
    """Return a warning about the loss in the format `name`, with alternatives; None if most of the change survives."""
    if not found.is_lost:
        return None
    share = f"{max(found.projection, 0.0):.0%} of the adapter would survive the rounding to {name}"
    why = (
        f"the base already lies on this format's grid (requantizing changes it by {found.rounding:.2%} of its norm; "
        f"{found.usual:.1%} is usual), so a change of less than half a step is rounded away"
        if found.on_grid
        else f"the change is too small for this format's steps (requantizing changes the base by {found.rounding:.2%})"
    )
    return (
        f"only about {share}, and what was unlearned is likely to come back: {why}. Choose another format (this "
        "warning appears for each that loses it), ship the adapter beside the base (--unmerged), or train it with a "
        "larger alpha or with the quantizer in the loop"
    )


def usual_rounding(codec: Codec) -> float:
    """Return ‖q(w) − w‖/‖w‖ of normally distributed weights in the codec's type."""
    bare = GgufCodec(codec.kind) if isinstance(codec, GgufCodec) else codec
    assert isinstance(bare, GgufCodec | OnnxCodec)
    return 0.0 if bare.why_not else _usual(bare)


@functools.cache
def _usual(codec: GgufCodec | OnnxCodec) -> float:
    rows = np.random.default_rng(0).standard_normal((16, 1024), np.float32)
    back = codec.weights(codec.quantize(rows), 1024)
    return math.sqrt(_sum(back - rows, back - rows) / _sum(rows, rows))


def _middle(place: Place) -> tuple[int, int]:
    """Return the bounds of whole groups in the middle of the tensor, at least `ROWS` rows if it has as many."""
    groups = place.rows // place.group
    count = min(groups, max(1, -(-ROWS // place.group)))
    first = (groups - count) // 2
    return first * place.group, (first + count) * place.group


def _sum(one: Float32Array, other: Float32Array) -> float:
    return float(np.vdot(one, other))

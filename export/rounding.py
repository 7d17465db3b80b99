"""Rounding of single tensors to a format as an export does, without writing a file.

The types (including fallbacks, tied tables, layers with more bits) and the kernels are the exporter's: the result
equals the dequantized file bit for bit. Rows are independent in every type, so their order in a file (llama.cpp's rope
layout) does not matter.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.contracts.errors import TrainingError, UnsupportedError
from edgeproof.contracts.tensors import identity
from edgeproof.export.base.opening import describe_gguf, describe_graph, merge_names, open_base
from edgeproof.export.formats import find_format
from edgeproof.export.gguf.layout import plan
from edgeproof.export.merge.names import BaseNames
from edgeproof.export.onnx.weights.layout import plan_layout
from edgeproof.export.survival.preflight import gguf_targets, onnx_targets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.base.opening import Base
    from edgeproof.export.formats import Format
    from edgeproof.export.survival.codecs import Codec
    from edgeproof.export.survival.places import Place
    from edgeproof.export.survival.preflight import SampleTarget

_PIECE = 2**17
"""Weights rounded at a time, so that codes and weights stay in a core's cache."""
_EXACT = {"F32", "float32"}


class _Part(NamedTuple):
    """Rows `start` to `stop` of a tensor, and their stored type."""

    start: int
    stop: int
    codec: Codec


class FormatRounding:
    """A `Rounding` (`edgeproof.contracts.rounding`) by the exporter's plan and kernels.

    Attributes:
        format: the format's name.
        types: stored types by the base's tensor name, without float32 tensors.

    """

    def __init__(self, name: str, parts: Mapping[str, Sequence[_Part]], names: BaseNames, *, threads: int = 1) -> None:
        self.format = name
        self.types: Mapping[str, tuple[str, ...]] = {
            source: tuple(part.codec.type for part in found) for source, found in parts.items()
        }
        self._parts = parts
        self._names = names
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __call__(self, name: str, weights: Float32Array) -> Float32Array:
        """Return `weights` as the artifact will hold them: see the protocol."""
        source = self._source(name, weights)
        rounded = np.array(weights, np.float32, order="C")
        jobs = list(_pieces(self._parts.get(source, ()), rounded.shape[-1] if rounded.ndim else 1))
        if not jobs:
            return rounded
        if not np.isfinite(rounded).all():
            raise TrainingError(
                f"{name} holds {int((~np.isfinite(rounded)).sum())} weights that are NaN or infinite",
                next_step="train with a lower learning rate",
            )
        rows = rounded.reshape(-1, rounded.shape[-1])

        def convert(job: _Part) -> None:
            part = rows[job.start : job.stop]
            with np.errstate(over="ignore", invalid="ignore"):  # a scale that overflows float16 is refused below
                part[...] = job.codec.weights(job.codec.quantize(part), part.shape[1])

        for _ in self._pool.map(convert, jobs) if self._pool else map(convert, jobs):
            pass
        if not np.isfinite(rounded).all():
            largest = float(np.abs(weights).max())
            raise TrainingError(
                f"{name} holds {largest:g}, too large for {self.format} (scales are float16, which ends at 65,504)",
                next_step="train with a lower learning rate",
            )
        return rounded

    def _source(self, name: str, weights: Float32Array) -> str:
        target = self._names.find(name)
        if target is None:
            raise UnsupportedError(
                f"{self._names.base.path} has no tensor for {name}",
                next_step="train and export from the same base",
            )
        source, info = self._names.source(target.name), self._names.info(target.name)
        if weights.size != info.rows * info.columns or weights.shape[-1:] != info.shape[-1:]:
            raise UnsupportedError(
                f"{name} is {list(weights.shape)} in training and {list(info.shape)} in {self._names.base.path}",
                next_step="train and export from the same base",
            )
        return source


def open_rounding(base: Path, format_name: str, *, threads: int = 1) -> FormatRounding:
    """Plan an export of `base` to a format and return its rounding; no weight is read.

    An export with --imatrix, --tensor-type or --shared-scales rounds differently.

    Args:
        base: a Hugging Face folder, or a GGUF, quantized or not (training dequantizes it).
        format_name: a name of `edgeproof.export.formats.FORMATS`.
        threads: number of threads per tensor; the result does not depend on it.

    Raises:
        UnsupportedError: no such format, or an unsupported architecture.
        CheckpointError: a tensor is missing or of another shape.
        TokenizerError: the base's tokenizer cannot be exported.

    """
    form = find_format(format_name)
    opened = open_base(base, [form.kind], allow_requantize=True)
    names = BaseNames(opened, merge_names(opened))
    parts: dict[str, list[_Part]] = defaultdict(list)
    for place, codec in _targets(opened, form):
        if codec.type in _EXACT:
            continue
        if codec.why_not:
            raise UnsupportedError(f"the rounding of {place.stored} to {form.name} cannot be computed: {codec.why_not}")
        _refuse_changed(place)
        added = _Part(place.start, place.start + place.rows, codec)
        # A tied table has one place in either kind of artifact; with two its rounding would be ambiguous.
        assert all(part.stop <= added.start or added.stop <= part.start for part in parts[place.source]), place
        parts[place.source].append(added)
    return FormatRounding(form.name, parts, names, threads=threads)


def _targets(opened: Base, form: Format) -> list[SampleTarget]:
    if form.kind == "onnx":
        layout = plan_layout(describe_graph(opened, opened), form.scheme)
        return onnx_targets(tuple(layout.matrices.values()))
    description = describe_gguf(opened, opened)
    return gguf_targets(description, plan(description, form.scheme).tensors)


def _refuse_changed(place: Place) -> None:
    """Refuse a transform that does more than permute rows: it would have to be inverted after the rounding."""
    if place.transform is identity:
        return
    numbers = np.arange(place.rows, dtype=np.float32).reshape(-1, 1)
    if place.rows > 2**24 or not np.array_equal(np.sort(place.transform(numbers), axis=0), numbers):
        raise UnsupportedError(f"{place.stored} is not just a row permutation of {place.source}")


def _pieces(parts: Sequence[_Part], columns: int) -> list[_Part]:
    step = max(1, _PIECE // max(1, columns))
    return [
        _Part(start, min(start + step, part.stop), part.codec)
        for part in parts
        for start in range(part.start, part.stop, step)
    ]

"""Check of an ONNX graph's weights: inside the folder, complete, of the right length, and finite.

External data, by the ONNX specification (docs/ExternalData.md): location (a path relative to the graph), offset and
length in bytes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.onnx_folder import inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from onnx import GraphProto, ModelProto, TensorProto

BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4,
}  # fmt: skip
"""Bits per element by `TensorProto.DataType`."""

FLOATS: Mapping[int, tuple[str, int]] = {1: ("<u4", 0x7F800000), 10: ("<u2", 0x7C00), 16: ("<u2", 0x7F80)}
"""By float type: the integer type of its bits, and the exponent of non-finite values."""
CHUNK_BYTES = 2**25

_EXTERNAL = 1
_AGAIN = "copy or export the folder again: it is truncated or incomplete"


def check_data(path: Path, model: ModelProto) -> None:
    """Check every tensor of the graph `path` that is stored in another file.

    Raises:
        ArtifactError: a file is missing, truncated, or outside the folder; a length does not fit the shape; a weight or
            scale is not finite.

    """
    sizes: dict[str, int] = {}
    for tensor in _tensors(model.graph):
        if tensor.data_location != _EXTERNAL:
            if tensor.data_type in FLOATS:
                _check_inline(path, tensor)
            continue
        entries = {str(entry.key): str(entry.value) for entry in tensor.external_data}  # bytes if not UTF-8
        location = entries.get("location", "")
        if location not in sizes:
            sizes[location] = inside(path.parent, location, f"the data of {tensor.name!r}").stat().st_size
        offset, length = _check_extent(path.parent / location, sizes[location], tensor, entries)
        if tensor.data_type in FLOATS:
            _check_finite(path.parent / location, tensor, offset, length)


def _check_finite(path: Path, tensor: TensorProto, offset: int, length: int) -> None:
    """Refuse non-finite weights and scales; the file is read in parts."""
    kind, exponent = FLOATS[tensor.data_type]
    for start in range(offset, offset + length, CHUNK_BYTES):
        part = np.memmap(path, np.uint8, "r", start, (min(CHUNK_BYTES, offset + length - start),))
        bits = np.frombuffer(part, kind)
        if ((bits & exponent) == exponent).any():
            raise _not_finite(path, tensor)


def _check_inline(path: Path, tensor: TensorProto) -> None:
    """Refuse NaN in the graph's own constants; a mask may hold −∞."""
    kind, exponent = FLOATS[tensor.data_type]
    packed = np.array(tensor.int32_data, np.int32).astype(np.uint16) if kind == "<u2" else np.array([], np.uint16)
    bits = np.concatenate((np.frombuffer(tensor.raw_data, kind), packed))
    magnitude = bits & (2 ** (8 * bits.itemsize - 1) - 1)
    if (magnitude > exponent).any() or np.isnan(tensor.float_data).any():
        raise _not_finite(path, tensor)


def _not_finite(path: Path, tensor: TensorProto) -> ArtifactError:
    return ArtifactError(
        f"{path}: {tensor.name!r} holds NaN or infinite numbers: it is damaged or manipulated",
        next_step="export the folder again; if the merge is not finite either, check the adapter's weights",
    )


def _check_extent(path: Path, size: int, tensor: TensorProto, entries: dict[str, str]) -> tuple[int, int]:
    """Return offset and length of a tensor's data, in bytes."""
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size - offset)))
    except ValueError as error:
        raise ArtifactError(
            f"{path}: offset or length of {tensor.name!r} is not a number: {entries}", next_step=_AGAIN
        ) from error
    if min(offset, length, *tensor.dims) < 0 or offset + length > size:
        raise ArtifactError(
            f"{path} is truncated: {tensor.name!r} takes bytes {offset:,} to {offset + length:,}, "
            f"the file has {size:,}",
            next_step=_AGAIN,
        )
    if tensor.data_type not in BITS:
        raise ArtifactError(f"{path}: {tensor.name!r} has the unknown type {tensor.data_type}", next_step=_AGAIN)
    needed = (math.prod(tensor.dims) * BITS[tensor.data_type] + 7) // 8
    if length != needed:
        raise ArtifactError(
            f"{path}: {tensor.name!r} has {length:,} bytes; its shape {list(tensor.dims)} needs {needed:,}",
            next_step=_AGAIN,
        )
    return offset, length


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield all tensors of the graph: weights, constants, those of branches."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)

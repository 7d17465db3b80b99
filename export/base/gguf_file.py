"""GGUF file as a base: a `Checkpoint` of its tensors, with its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import CheckpointError, UnsupportedError
from edgeproof.contracts.gguf_header import read_header
from edgeproof.contracts.tensors import MetadataEntry, ModelDescription, OutputTensor, TensorInfo
from edgeproof.export.base.gguf_names import map_names
from edgeproof.export.base.mapped_file import BYTES_PER_VALUE, MappedFile
from edgeproof.export.gguf.dequantized import dequantized
from gguf.constants import GGML_QUANT_SIZES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.contracts.gguf_header import GgufHeader, GgufTensor
    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.merge.names import MergeTarget

_WRITERS_KEYS = {"general.file_type", "general.quantization_version"}
_DROPPED_KEYS = ("split.", "quantize.imatrix.")
"""Keys that hold for the source file only: its parts, its quantization."""


class GgufBase:
    """A GGUF file. `tensors` is in the file's order; types are "F32", "F16", "BF16", or a quantized one (if allowed).

    Attributes:
        path: the file.
        config: empty; a GGUF has metadata instead.
        architecture: `general.architecture`.
        metadata: every entry of the file.
        tensors: shape in numpy order (rows first) and stored type, by GGUF name.

    """

    def __init__(self, path: Path, header: GgufHeader, architecture: str) -> None:
        self.path = path
        self.config: Mapping[str, object] = {}
        self.files = (path,)
        self.architecture = architecture
        self.metadata = header.metadata
        self._stored = {tensor.name: tensor for tensor in header.tensors}
        self._file = MappedFile(path)
        self.tensors: Mapping[str, TensorInfo] = {
            tensor.name: TensorInfo(tensor.name, tensor.shape, tensor.kind.name) for tensor in header.tensors
        }

    def rows(self, name: str, start: int, stop: int) -> Float32Array:
        """Rows `start` to `stop` as a fresh, C-contiguous float32 array [stop - start, columns]. Thread-safe.

        Raises:
            CheckpointError: a value is NaN or Inf; the message names the tensor and the row.

        """
        info, tensor = self.tensors[name], self._stored[name]
        count = (stop - start) * info.columns
        if info.dtype in BYTES_PER_VALUE:
            offset = tensor.offset + start * info.columns * BYTES_PER_VALUE[info.dtype]
            values, bad = self._file.float32(offset, info.dtype, count)
        else:
            values = self._dequantized(tensor, start, stop)
            bad = None if np.isfinite(values).all() else int(np.argmin(np.isfinite(values)))
        if bad is not None:
            raise CheckpointError(
                f"{name} in {self.path} holds NaN or Inf: row {start + bad // info.columns}, "
                f"column {bad % info.columns}",
                next_step="the file is damaged or training diverged: take another copy",
            )
        return values.reshape(stop - start, info.columns)

    def describe(self, tensors: Mapping[str, TensorInfo] | None = None) -> ModelDescription:
        """Return the base's metadata and tensors, with the writer's keys emptied.

        Args:
            tensors: the merge's tensors, if they differ from the base's (an untied `output.weight`).

        Raises:
            UnsupportedError: the head is untied, and the architecture's graph in llama.cpp does not read it.

        """
        if tensors is not None and "lm_head.weight" in tensors:  # a Hugging Face name: this GGUF has no name for it
            raise untied_head(self.path, self.architecture)
        outputs = tuple(OutputTensor(info.name, info.name, info.shape) for info in (tensors or self.tensors).values())
        return ModelDescription(self.architecture, _entries(self.metadata), outputs)

    def targets(self) -> dict[str, MergeTarget]:
        """Return the positions of Hugging Face tensors in this file, by name.

        Raises:
            UnsupportedError: the architecture's row order is unknown.

        """
        values = {entry.key: entry.value for entry in self.metadata}
        return map_names(self.architecture, values, self.tensors)

    def _dequantized(self, tensor: GgufTensor, start: int, stop: int) -> Float32Array:
        block, width = GGML_QUANT_SIZES[tensor.kind]
        columns = tensor.shape[-1]
        offset = tensor.offset + start * columns // block * width
        raw = self._file.array(offset, "u1", (stop - start) * columns // block * width)
        values = dequantized(raw, tensor.kind)
        self._file.release(offset, raw.nbytes)
        return values


def open_gguf_base(path: Path, *, allow_requantize: bool = False) -> GgufBase:
    """Open the GGUF file `path`; no weight is read yet.

    Args:
        path: the file.
        allow_requantize: accept quantized tensors, which are dequantized while reading.

    Raises:
        CheckpointError: the file is missing, not a GGUF, truncated, split into parts, or names no architecture.
        UnsupportedError: it is quantized, and `allow_requantize` is not given; or of an unreadable type.

    """
    header = read_header(path, CheckpointError)
    values = {entry.key: entry.value for entry in header.metadata}
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str):
        raise CheckpointError(f"{path} has no general.architecture", next_step="convert the model again")
    if (parts := values.get("split.count", 0)) not in {0, 1}:
        raise CheckpointError(
            f"{path} is one of {parts} parts of a split GGUF",
            next_step="join them with llama.cpp's llama-gguf-split --merge, and give the one file",
        )
    if not header.tensors:
        raise CheckpointError(f"{path} holds no tensors", next_step="give the GGUF of a whole model")
    quantized = [tensor for tensor in header.tensors if tensor.kind.name not in BYTES_PER_VALUE]
    for tensor in quantized:
        if not _readable(tensor):
            raise UnsupportedError(f"{tensor.name} in {path} is {tensor.kind.name}, which cannot be read as weights")
    if quantized and not allow_requantize:
        first = quantized[0]
        raise UnsupportedError(
            f"{path} is quantized: {len(quantized)} of its {len(header.tensors)} tensors, the first being {first.name} "
            f"({first.kind.name}). It would be quantized twice",
            next_step="give a float GGUF (F32, F16, BF16) or a Hugging Face folder, or insist with --allow-requantize",
        )
    return GgufBase(path, header, architecture)


def untied_head(path: Path, architecture: str) -> UnsupportedError:
    """Return the error for an adapter that unties a head which the graph ties."""
    return UnsupportedError(
        f"the adapter changes only one of embedding table and output head, and llama.cpp's graph of {architecture} has "
        f"one table for both ({path})",
        next_step="train the adapter without lm_head and embed_tokens",
    )


def _entries(metadata: tuple[MetadataEntry, ...]) -> tuple[MetadataEntry, ...]:
    kept = (entry for entry in metadata if not entry.key.startswith(_DROPPED_KEYS))
    return tuple(MetadataEntry(entry.key, 0, "UINT32") if entry.key in _WRITERS_KEYS else entry for entry in kept)


def _readable(tensor: GgufTensor) -> bool:
    """Whether gguf can dequantize the tensor's type."""
    from gguf.quants import dequantize

    block, width = GGML_QUANT_SIZES[tensor.kind]
    try:
        return bool(dequantize(np.zeros((1, width), np.uint8), tensor.kind).size == block)
    except NotImplementedError:
        return False

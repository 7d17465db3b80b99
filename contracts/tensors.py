"""Data types of `export`: checkpoint, merged rows, and the model description that a writer follows.

```
  Checkpoint.rows ──▶ merge ──▶ RowChunk ──▶ Writer.write   (one stream, one writer per requested format)
```
A chunk is float32, at most 64 MB, and holds whole rows of one tensor (a row is the last dimension; rows are counted
over all leading dimensions together). Writers see chunks from several threads and in any order; a tensor's chunks never
overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Float32Array = NDArray[np.float32]

CHUNK_BYTES = 64 * 2**20
"""Maximum size of a chunk, in bytes of float32. Writers may get smaller chunks."""


class TensorInfo(NamedTuple):
    """A tensor of a checkpoint, by the checkpoint's own name. `dtype` is as stored: "F32", "F16", "BF16"."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def rows(self) -> int:
        """The product of all dimensions but the last; 1 for vectors."""
        rows = 1
        for size in self.shape[:-1]:
            rows *= size
        return rows

    @property
    def columns(self) -> int:
        """The last dimension."""
        return self.shape[-1] if self.shape else 1


class RowChunk(NamedTuple):
    """Rows `start` to `stop` of the tensor `name` (the checkpoint's name), float32 [stop - start, columns]."""

    name: str
    start: int
    stop: int
    rows: Float32Array


class Checkpoint(Protocol):
    """A base model's weights, by name, read in rows; a merged model has the same interface."""

    @property
    def path(self) -> Path:
        """The folder or file of the weights."""

    @property
    def config(self) -> Mapping[str, object]:
        """`config.json` for a Hugging Face folder; empty for a GGUF."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors, ordered by file name, then by tensor name, as llama.cpp's converter reads them."""

    def rows(self, name: str, start: int, stop: int) -> Float32Array:
        """Rows `start` to `stop` as a fresh, C-contiguous float32 array [stop - start, columns]. Thread-safe."""


class MetadataEntry(NamedTuple):
    """A GGUF key with its value. `kind` and `item_kind` are names of `gguf.GGUFValueType` ("UINT32", "ARRAY", …)."""

    key: str
    value: object
    kind: str
    item_kind: str | None = None


def identity(rows: Float32Array) -> Float32Array:
    """Return the rows as they are."""
    return rows


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of the output file and the source of its rows.

    `transform` maps a chunk of the source's rows to the output's rows of the same range (llama.cpp's rope layout
    permutes rows within a head; Gemma's norms add 1). It needs chunks whose bounds are multiples of `row_group` rows.
    A tensor that no checkpoint holds (rope factors) has its values in `constant`, of `shape`; `source` is then "".
    `shape` is the output's: LFM2's convolution [hidden, 1, length] becomes [hidden, length], and Gemma 3's embedding
    table loses the rows after the tokenizer's last token (a writer ignores the source's rows from `shape[0]` on).
    """

    name: str
    source: str
    shape: tuple[int, ...]
    transform: Callable[[Float32Array], Float32Array] = identity
    row_group: int = 1
    constant: Float32Array | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class ModelDescription:
    """Metadata and tensors of this model's GGUF file, before the choice of a format.

    `metadata` and `tensors` are in the order in which llama.cpp's converter writes them. The values of
    `general.file_type` and `general.quantization_version` are set by the writer; entries with these keys (value 0,
    "UINT32") mark their positions in the converter's float files.
    """

    architecture: str
    metadata: tuple[MetadataEntry, ...]
    tensors: tuple[OutputTensor, ...]
    warnings: tuple[str, ...] = field(default=())


class TensorRecord(NamedTuple):
    """A tensor as written: output name, shape, stored type ("Q4_K"), bytes."""

    name: str
    shape: tuple[int, ...]
    type: str
    bytes: int


class Writer(Protocol):
    """Writes one artifact from chunks. Nothing appears under the final name before `finish` returns."""

    def write(self, chunk: RowChunk) -> None:
        """Quantize and store one chunk of a *source* tensor. Thread-safe; ignores sources that it does not use."""

    def finish(self) -> tuple[TensorRecord, ...]:
        """Check that every row was written, fsync, rename to the final name."""

    def abort(self) -> None:
        """Remove the temporary file; never raises."""

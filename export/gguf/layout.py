"""Layout of a GGUF file, planned before the first weight is read: metadata, types, offsets.

```
  magic, version, counts | keys and values | names, shapes, types, offsets | padding | tensor, padding | …
```
Source: llama.cpp, `docs` of the GGUF specification; the order of keys and tensors is that of `llama_model_quantize` for
quantized files and of the converter for float files. The official `gguf` package writes the bytes of the header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.contracts.errors import InputError, UnsupportedError
from edgeproof.contracts.tensors import MetadataEntry
from edgeproof.export.gguf.exceptions import ggml_dimensions
from edgeproof.export.gguf.kernels import row_bytes
from edgeproof.export.gguf.overrides import parse_override
from edgeproof.export.gguf.types import (
    FLOAT_SCHEMES,
    SCHEMES,
    choose_types,
    requires_importance,
)
from gguf import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFValueType, GGUFWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeproof.contracts.tensors import Float32Array, ModelDescription, OutputTensor
    from edgeproof.export.gguf.imatrix import Imatrix

FILE_TYPE = "general.file_type"
QUANTIZATION_VERSION = "general.quantization_version"
ALIGNMENT = "general.alignment"
DEFAULT_ALIGNMENT = 32
NAME_BYTES = 63
"""Maximum length of a tensor name in llama.cpp, in bytes."""


class PlannedTensor(NamedTuple):
    """A tensor's position and type in the file.

    Attributes:
        output: the tensor's description.
        kind: the stored type.
        rows: number of rows, over all leading dimensions.
        columns: length of a row.
        row_bytes: stored bytes of a row.
        offset: offset of the first byte, from the start of the tensor data.
        importance: importance weights, float32 [experts, columns] (one expert for a plain matrix), or None.

    """

    output: OutputTensor
    kind: GGMLQuantizationType
    rows: int
    columns: int
    row_bytes: int
    offset: int
    importance: Float32Array | None

    @property
    def bytes(self) -> int:
        """Stored bytes, without padding."""
        return self.rows * self.row_bytes


class GgufLayout(NamedTuple):
    """A file: `metadata` and `tensors` in the file's order, `data_bytes` of tensor data with padding."""

    architecture: str
    metadata: tuple[MetadataEntry, ...]
    tensors: tuple[PlannedTensor, ...]
    data_bytes: int
    alignment: int
    keeps_dimensions: bool


def plan(
    description: ModelDescription,
    scheme: str,
    *,
    imatrix: Imatrix | None = None,
    overrides: Sequence[str] = (),
) -> GgufLayout:
    """Plan the file of `description` in `scheme` ("Q4_K_M", "F16", …).

    `imatrix` and `overrides` ("PATTERN=TYPE") apply to quantized files only.

    Raises:
        UsageError: an override is not PATTERN=TYPE.
        InputError: an importance matrix is missing or does not fit a tensor.
        UnsupportedError: a tensor name is too long for llama.cpp.

    """
    if scheme in FLOAT_SCHEMES:
        imatrix = None
    metadata = _metadata(description, scheme, imatrix)
    alignment = next((int(str(entry.value)) for entry in metadata if entry.key == ALIGNMENT), DEFAULT_ALIGNMENT)
    outputs = {tensor.name: tensor for tensor in description.tensors}
    chosen = choose_types(
        description, scheme, has_imatrix=imatrix is not None, overrides=[*map(parse_override, overrides)]
    )
    tensors: list[PlannedTensor] = []
    offset = 0
    for name, kind in chosen.items():
        output = outputs[name]
        if len(name.encode()) > NAME_BYTES:
            raise UnsupportedError(
                f"the tensor name {name!r} has more than {NAME_BYTES} bytes, which llama.cpp refuses"
            )
        columns = output.shape[-1] if output.shape else 1
        rows = int(np.prod(output.shape[:-1], dtype=np.int64))
        importance = _importance(output, kind, imatrix) if imatrix else None
        planned = PlannedTensor(output, kind, rows, columns, row_bytes(kind, columns), offset, importance)
        tensors.append(planned)
        offset = _padded(offset + planned.bytes, alignment)
    return GgufLayout(description.architecture, metadata, tuple(tensors), offset, alignment, scheme in FLOAT_SCHEMES)


def write_header(layout: GgufLayout, path: Path) -> int:
    """Write everything except tensor data to `path`; return the offset at which tensor data begins.

    Raises:
        OSError: `path` cannot be written.

    """
    writer = GGUFWriter(None, layout.architecture)
    writer.kv_data = [{}]  # the description has general.architecture, at its own position
    writer.data_alignment = layout.alignment
    for entry in layout.metadata:
        item_kind = GGUFValueType[entry.item_kind] if entry.item_kind else None
        writer.add_key_value(entry.key, entry.value, GGUFValueType[entry.kind], item_kind)
    for tensor in layout.tensors:
        shape = tensor.output.shape or (1,)
        if not layout.keeps_dimensions:
            shape = shape[-ggml_dimensions(shape) :]
        # With a raw type the package ignores numpy's type.
        writer.add_tensor_info(tensor.output.name, shape, np.dtype(np.float32), tensor.bytes, raw_dtype=tensor.kind)
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    finally:
        writer.close()
    return _padded(path.stat().st_size, layout.alignment)


def _padded(size: int, alignment: int) -> int:
    return (size + alignment - 1) // alignment * alignment


def _metadata(description: ModelDescription, scheme: str, imatrix: Imatrix | None) -> tuple[MetadataEntry, ...]:
    own = {
        QUANTIZATION_VERSION: MetadataEntry(QUANTIZATION_VERSION, GGML_QUANT_VERSION, "UINT32"),
        FILE_TYPE: MetadataEntry(FILE_TYPE, int(SCHEMES[scheme][0]), "UINT32"),
    }
    given = {entry.key: entry for entry in description.metadata if not entry.key.startswith("split.")}
    if scheme not in FLOAT_SCHEMES:
        own |= {entry.key: entry for entry in (imatrix.metadata() if imatrix else ())}
        return (*(entry for key, entry in given.items() if key not in own), *own.values())
    marked = {key: own.get(key, entry) for key, entry in given.items()}
    left = [entry for key, entry in reversed(own.items()) if key not in given]
    before_tokenizer = next((at for at, key in enumerate(marked) if key.startswith("tokenizer.")), len(marked))
    entries = list(marked.values())
    return (*entries[:before_tokenizer], *left, *entries[before_tokenizer:])


def _importance(output: OutputTensor, kind: GGMLQuantizationType, imatrix: Imatrix) -> Float32Array | None:
    """Return the importance weights of one tensor, float32 [experts, columns]; None if there are none."""
    if kind is GGMLQuantizationType.F32:
        return None
    experts = output.shape[-3] if len(output.shape) > 2 else 1
    columns = output.shape[-1]
    weights = imatrix.weights.get(output.name)
    if weights is not None and weights.size != experts * columns:
        if output.name not in {"token_embd.weight", "per_layer_token_embd.weight"}:
            raise InputError(
                f"the importance matrix {imatrix.file} has {weights.size:,} values for {output.name}, "
                f"the model has {experts:,} × {columns:,}",
                next_step="use an importance matrix made from this model",
            )
        weights = None  # as in llama-quantize: embeddings are looked up, not multiplied
    if weights is None:
        if requires_importance(output.name, kind):
            raise InputError(
                f"{output.name} as {kind.name} needs an importance matrix, and {imatrix.file} has no values for it",
                next_step="choose another type for it, or make the matrix on a longer text",
            )
        return None
    return np.ascontiguousarray(weights.reshape(experts, columns), dtype=np.float32)

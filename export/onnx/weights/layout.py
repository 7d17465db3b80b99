"""Layout of `model.onnx.data`, planned from the shapes before the first weight is read.

Source: onnx, `docs/ExternalData.md`: an initializer names a file, an offset and a length in it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from edgeproof.export.architectures.hyper_parameters import FULL
from edgeproof.export.onnx.graph.rope import rope_tables
from edgeproof.export.onnx.weights.places import EMBEDDING, list_weights
from edgeproof.export.onnx.weights.quantize import BLOCK, block_count, code_bytes, zero_point_bytes
from edgeproof.export.onnx.weights.schemes import choose_precision

if TYPE_CHECKING:
    from edgeproof.export.architectures.hyper_parameters import HyperParameters
    from edgeproof.export.onnx.description import OnnxDescription
    from edgeproof.export.onnx.graph.rope import RopeTable
    from edgeproof.export.onnx.weights.places import Matrix, Vector
    from edgeproof.export.onnx.weights.schemes import Precision

ALIGNMENT = 64
"""Bytes: a cache line, and a multiple of every element type's alignment."""

Kind = Literal["FLOAT", "UINT8"]


class Initializer(NamedTuple):
    """A stored array: ONNX's element type, and position in the data file."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        """Stored bytes, without padding."""
        return math.prod(self.shape) * (4 if self.kind == "FLOAT" else 1)


class StoredMatrix(NamedTuple):
    """A matrix and its arrays: `codes` with `scales` (and `zero_points`) if quantized, `codes` alone in float32."""

    matrix: Matrix
    precision: Precision | None
    codes: Initializer
    scales: Initializer | None = None
    zero_points: Initializer | None = None

    @property
    def arrays(self) -> tuple[Initializer, ...]:
        """The arrays that are present."""
        return tuple(array for array in (self.codes, self.scales, self.zero_points) if array is not None)


class StoredVector(NamedTuple):
    """A vector and its array."""

    vector: Vector
    array: Initializer


class StoredTable(NamedTuple):
    """A rope table and its two arrays."""

    table: RopeTable
    cos: Initializer
    sin: Initializer


class OnnxLayout(NamedTuple):
    """The data file. `matrices` and `vectors` by name; `tables` by layer kind and part."""

    matrices: dict[str, StoredMatrix]
    vectors: dict[str, StoredVector]
    tables: dict[str, StoredTable]
    data_bytes: int

    @property
    def initializers(self) -> tuple[Initializer, ...]:
        """All arrays, in the order of the file."""
        arrays = [array for stored in self.matrices.values() for array in stored.arrays]
        arrays += [stored.array for stored in self.vectors.values()]
        arrays += [array for stored in self.tables.values() for array in (stored.cos, stored.sin)]
        return tuple(sorted(arrays, key=lambda array: array.offset))


def plan_layout(
    description: OnnxDescription, scheme: str, *, shared_scales: bool = False, small_embedding: bool = False
) -> OnnxLayout:
    """Plan the data file of `description` in `scheme` ("onnx-int4", …); the options are those of `choose_precision`."""
    weights = list_weights(description)
    file = _File()
    matrices: dict[str, StoredMatrix] = {}
    vectors = {
        vector.name: StoredVector(vector, file.add(vector.name, "FLOAT", vector.size)) for vector in weights.vectors
    }
    tables = {
        suffix: StoredTable(
            table,
            *(
                file.add(f"{which}_cache{suffix}", "FLOAT", table.length, len(table.frequencies))
                for which in ("cos", "sin")
            ),
        )
        for suffix, table in _tables(description.model).items()
    }
    for matrix in (*([weights.embedding] if weights.embedding else []), *weights.matrices):
        layers = description.model.layers
        precision = choose_precision(
            scheme, matrix, layers, shared_scales=shared_scales, small_embedding=small_embedding
        )
        matrices[matrix.name] = _store(file, matrix, precision)
    return OnnxLayout(matrices, vectors, tables, file.size)


def table_suffix(model: HyperParameters, layer: int) -> str:
    """Return the name suffix of the rope caches of `layer`."""
    if model.local_rope is None:
        return ""
    return "_global" if model.layer_kinds[layer] == FULL else "_local"


def _tables(model: HyperParameters) -> dict[str, RopeTable]:
    tables = rope_tables(model.rope, model.context_length)
    if model.local_rope is not None:
        (both,), (local,) = tables, rope_tables(model.local_rope, model.context_length)
        return {"_global": both, "_local": local}
    return {"": tables[0]} if len(tables) == 1 else {"_small": tables[0], "_large": tables[1]}


class _File:
    """Allocates consecutive positions."""

    def __init__(self) -> None:
        self.size = 0

    def add(self, name: str, kind: Kind, *shape: int) -> Initializer:
        array = Initializer(name, kind, shape, self.size)
        self.size = -(-(self.size + array.bytes) // ALIGNMENT) * ALIGNMENT
        return array


def _store(file: _File, matrix: Matrix, precision: Precision | None) -> StoredMatrix:
    rows, columns = matrix.rows, matrix.columns
    name = f"{matrix.name}.weight" if matrix.name == EMBEDDING else f"{matrix.name}.MatMul.weight"
    if precision is None:
        return StoredMatrix(matrix, None, file.add(name, "FLOAT", rows, columns))
    bits, blocks = precision.bits, block_count(columns)
    shape = (rows, blocks, code_bytes(columns, bits) // blocks)
    if precision.method != "k_quant":
        codes = file.add(f"{name}_Q{bits}", "UINT8", *shape)
        return StoredMatrix(matrix, precision, codes, file.add(f"{name}_scales", "FLOAT", rows, blocks))
    codes = file.add(f"{name}_Q{bits}G{BLOCK}", "UINT8", *shape)
    scales = file.add(f"{name}_scale", "FLOAT", rows, blocks)
    zeros = file.add(f"{name}_zp", "UINT8", rows, zero_point_bytes(columns, bits))
    return StoredMatrix(matrix, precision, codes, scales, zeros)

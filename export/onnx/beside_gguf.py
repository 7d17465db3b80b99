"""Numerical differences between an ONNX folder and the GGUF file of the same export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.export.onnx.weights.shared_scales import SHARED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgeproof.contracts.tensors import ModelDescription, TensorRecord
    from edgeproof.export.onnx.weights.layout import StoredMatrix


def list_different(
    matrices: Iterable[StoredMatrix], description: ModelDescription, records: Iterable[TensorRecord]
) -> list[str]:
    """List the matrices that differ numerically in a GGUF file of the same export.

    Args:
        matrices: matrices of the ONNX folder.
        description: description of the GGUF file.
        records: written tensors of the GGUF file.

    """
    types = {record.name: record.type for record in records}
    by_source: Mapping[str, list[str]] = {
        tensor.source: [other.name for other in description.tensors if other.source == tensor.source]
        for tensor in description.tensors
    }
    different: list[str] = []
    for stored in matrices:
        here = stored.precision.type if stored.precision else "float32"
        there = sorted({f"{types[name]} as {name}" for part in stored.matrix.parts for name in by_source[part.source]})
        if not (stored.precision and stored.precision.method == "q4_0") or any(
            not found.startswith(f"{SHARED} as ") for found in there
        ):
            different.append(f"{stored.matrix.name}: {here} in ONNX; {', '.join(there)} in GGUF")
    return different

"""Check of a graph's rotary tables: row p turns each pair of dimensions by p times one angle, at every position.

A probe is short, and reads the first rows only. A table whose later rows are others would compute another function
behind a longer text, which nobody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import ArtifactError
from edgeproof.runtime.onnxruntime.data import nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

TABLES: Mapping[tuple[str, str], int] = {
    ("com.microsoft", "GroupQueryAttention"): 7,
    ("com.microsoft", "RotaryEmbedding"): 2,
    ("", "RotaryEmbedding"): 1,
}
"""Operators that turn by tables, and which of their inputs is the cosines'; the sines' is the next."""
FARTHEST = 0.02
"""Largest distance of an entry from its rotation, as a share of the radius: at position 131,072 a float32 angle is off
by up to 0.008, and a table in bfloat16 by 0.004."""
ODD, LEAST = 8.0, 1e-6
"""How many times as far as 95 % of its column an entry may be, and a distance that is never odd, beside the rounding of
the table's type: rounding spreads evenly over the rows."""
ROUNDING: Mapping[int, float] = {1: 2**-23, 10: 2**-10, 16: 2**-7}
"""Distance of neighbouring numbers at 1 by `TensorProto.DataType`: float32, float16, bfloat16."""
ROWS = 4096
"""Positions computed at a time."""


def check_rotations(path: Path, model: ModelProto) -> None:
    """Refuse rotary tables of the graph `path` with a row that is not the rotation of its position.

    Tables that the graph computes by itself are not looked at.

    Raises:
        ArtifactError: a table has such a row, or cosines and sines of different shapes.

    """
    from onnx import numpy_helper

    for cosines, sines in sorted(set(_pairs(model.graph))):
        for of_cosines, of_sines in zip(_stored(model.graph, cosines), _stored(model.graph, sines), strict=False):
            tables = [numpy_helper.to_array(tensor, str(path.parent)) for tensor in (of_cosines, of_sines)]
            if tables[0].ndim != 2 or tables[0].shape != tables[1].shape or not tables[0].size:
                raise _odd(path, cosines, f"its shapes are {tables[0].shape} and {tables[1].shape}")
            rounding = ROUNDING.get(of_cosines.data_type)
            if rounding is None or of_sines.data_type != of_cosines.data_type:
                raise _odd(path, cosines, f"its types are {of_cosines.data_type} and {of_sines.data_type}")
            first, second = (table.astype(np.float32) for table in tables)
            found = _odd_row(first, second, rounding)
            if found is not None:
                raise _odd(path, cosines, f"position {found:,} is not turned as the others are")


def _odd(path: Path, name: str, what: str) -> ArtifactError:
    return ArtifactError(
        f"{path}: the rotary table {name!r} is none: {what}; it is damaged or manipulated",
        next_step="export the folder again",
    )


def _pairs(graph: GraphProto) -> Iterator[tuple[str, str]]:
    """Yield the names of cosines and sines that nodes of `graph` turn by."""
    for node in nodes(graph):
        first = TABLES.get(("" if node.domain == "ai.onnx" else node.domain, node.op_type))
        if first is not None and len(node.input) > first + 1 and node.input[first]:
            yield node.input[first], node.input[first + 1]


def _stored(graph: GraphProto, name: str) -> list[TensorProto]:
    """Return the stored tensors that `name` stands for: one, or one of each branch of a choice; none if computed."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    if name in stored:
        return [stored[name]]
    made = next((node for node in graph.node if name in node.output), None)
    if made is None or made.op_type != "If":
        return []
    place = list(made.output).index(name)
    branches = sorted((one.name, one.g) for one in made.attribute if one.HasField("g"))
    found = [_passed(branch, branch.output[place].name, stored) for _, branch in branches]
    return [tensor for tensor in found if tensor is not None]


def _passed(branch: GraphProto, name: str, outer: Mapping[str, TensorProto]) -> TensorProto | None:
    """Return the tensor that a branch passes on as `name`; None if it computes it."""
    known = {**outer, **{tensor.name: tensor for tensor in branch.initializer}}
    made: NodeProto | None = next((node for node in branch.node if name in node.output), None)
    if made is None:
        return known.get(name)
    if made.op_type == "Identity":
        return known.get(made.input[0])
    return next((one.t for one in made.attribute if made.op_type == "Constant" and one.name == "value"), None)


def _odd_row(cosines: NDArray[np.float32], sines: NDArray[np.float32], rounding: float) -> int | None:
    """Return the first position that is not turned as the others are; None if all are."""
    positions, columns = cosines.shape
    radius = cosines[0].astype(np.float64)
    if not (radius > 0).all() or np.abs(sines[0]).max() > LEAST * radius.max():
        return 0

    def turned(start: int, stop: int) -> NDArray[np.complex128]:
        some = slice(start, stop)
        found: NDArray[np.complex128] = cosines[some] / radius + 1j * (sines[some] / radius)
        return found

    angle = np.zeros(columns)
    place = 1
    while place < positions:  # each row tells the angle twice as exactly as the one before
        angle += np.angle(turned(place, place + 1)[0] * np.exp(-1j * angle * place)) / place
        place *= 2
    within = np.exp(1j * angle * np.arange(min(ROWS, positions))[:, None])
    distance = np.empty(cosines.shape, np.float32)
    for start in range(0, positions, ROWS):
        some = turned(start, start + ROWS)
        distance[start : start + ROWS] = np.abs(some - within[: len(some)] * np.exp(1j * angle * start))
    usual = np.quantile(distance[:: max(1, positions // ROWS)], 0.95, axis=0)
    odd = (distance > np.minimum(FARTHEST, ODD * usual + LEAST + rounding)).any(axis=1)
    return int(odd.argmax()) if odd.any() else None

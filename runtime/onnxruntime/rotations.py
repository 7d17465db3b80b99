"""Check of a graph's rotary tables: row p turns each pair of dimensions by p times one angle, at every position.

A probe is short, and reads the first rows only. A table whose later rows are others would compute another function
behind a longer text, which nobody asks.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.onnx_folder import nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, TensorProto

TABLES: Mapping[tuple[str, str], int] = {
    ("com.microsoft", "GroupQueryAttention"): 7,
    ("com.microsoft", "SparseAttention"): 9,
    ("com.microsoft", "RotaryEmbedding"): 2,
    ("", "RotaryEmbedding"): 1,
}
"""Operators that turn by tables, and which of their inputs is the cosines'; the sines' is the next."""
FARTHEST, PER_POSITION = 0.02, 1.5 * 2**-24
"""Largest distance of an entry from its rotation, as a share of the radius: a table in bfloat16 is off by 0.004, and a
float32 angle, which is at most its position, by half of its last bit."""
ODD, LEAST = 8.0, 1e-6
"""How many times as far as 95 % of its column an entry may be, and a distance that is never odd, beside the rounding of
the table's type: rounding spreads evenly over the rows."""
ROUNDING: Mapping[int, float] = {1: 2**-23, 10: 2**-10, 16: 2**-7}
"""Distance of neighbouring numbers at 1 by `TensorProto.DataType`: float32, float16, bfloat16."""
ROWS = 4096
"""Positions computed at a time."""
_LINKS = 8
"""Nodes between a table and what turns by it, at most."""
_PASSING = frozenset({"Identity", "Cast"})
"""Operators that pass a table on."""


def check_rotations(path: Path, model: ModelProto) -> None:
    """Refuse rotary tables of the graph `path` with a row that is not the rotation of its position.

    Tables that the graph computes by itself are not looked at.

    Raises:
        ArtifactError: a table has such a row, or cosines and sines do not belong together.

    """
    from onnx import numpy_helper

    for cosines, sines in sorted(set(_pairs(model.graph))):
        both = [_stored((model.graph,), name) for name in (cosines, sines)]
        if len(both[0]) != len(both[1]):
            raise _odd(path, cosines, f"there are {len(both[0])} of cosines and {len(both[1])} of sines")
        for tensors in zip(*both, strict=True):
            rounding = ROUNDING.get(tensors[0].data_type)
            if rounding is None or tensors[0].data_type != tensors[1].data_type:
                raise _odd(path, cosines, f"its types are {tensors[0].data_type} and {tensors[1].data_type}")
            try:
                first, second = (
                    np.asarray(numpy_helper.to_array(tensor, str(path.parent))).astype(np.float32) for tensor in tensors
                )
            except (ValueError, TypeError) as error:
                raise _odd(path, cosines, f"it cannot be read: {error}") from error
            if first.ndim != 2 or first.shape != second.shape or not first.size:
                raise _odd(path, cosines, f"its shapes are {first.shape} and {second.shape}")
            found = _odd_row(first, second, rounding)
            if found is not None:
                raise _odd(path, cosines, f"position {found:,} is not turned as the others are")


def _odd(path: Path, name: str, what: str) -> ArtifactError:
    return ArtifactError(
        f"{path}: {name!r} is not a rotary table: {what}; it is damaged, manipulated, or two tables in one",
        next_step="export the folder again; for onnxruntime-genai's builder, with `-e cpu` or `-e cuda`",
    )


def _pairs(graph: GraphProto) -> Iterator[tuple[str, str]]:
    """Yield the names of cosines and sines that nodes of `graph` turn by."""
    for node in nodes(graph):
        first = TABLES.get(("" if node.domain == "ai.onnx" else node.domain, node.op_type))
        if first is not None and len(node.input) > first + 1 and node.input[first]:
            yield node.input[first], node.input[first + 1]


def _stored(graphs: tuple[GraphProto, ...], name: str) -> list[TensorProto]:
    """Return the stored tensors that `name` stands for in the first of `graphs`, which the others enclose.

    One, or those of each branch of a choice; none if they are computed.
    """
    for _ in range(_LINKS):
        graphs = tuple(itertools.dropwhile(lambda graph: not _knows(graph, name), graphs))  # noqa: B023 (called here)
        if not graphs:
            return []
        stored = next((tensor for tensor in graphs[0].initializer if tensor.name == name), None)
        if stored is not None:
            return [stored]
        made = next(node for node in graphs[0].node if name in node.output)
        if made.op_type == "Constant":
            return [one.t for one in made.attribute if one.name == "value"]
        if made.op_type == "If":
            place = list(made.output).index(name)
            branches = [one.g for one in sorted(made.attribute, key=lambda one: one.name) if one.HasField("g")]
            return [
                tensor
                for branch in branches
                if place < len(branch.output)
                for tensor in _stored((branch, *graphs), branch.output[place].name)
            ]
        if made.op_type not in _PASSING or not made.input:
            return []
        name = made.input[0]
    return []


def _knows(graph: GraphProto, name: str) -> bool:
    return any(tensor.name == name for tensor in graph.initializer) or any(name in node.output for node in graph.node)


def _odd_row(cosines: NDArray[np.float32], sines: NDArray[np.float32], rounding: float) -> int | None:
    """Return the first position that is not turned as the others are; None if all are."""
    positions, columns = cosines.shape
    for table in (cosines, sines):
        finite = np.isfinite(table).all(axis=1)
        if not finite.all():
            return int(finite.argmin())
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
    farthest = np.maximum(FARTHEST, PER_POSITION * np.arange(positions))[:, None]
    odd = ~(distance <= np.minimum(farthest, ODD * usual + LEAST + rounding)).all(axis=1)
    return int(odd.argmax()) if odd.any() else None

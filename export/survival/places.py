"""Positions of a checkpoint's rows in an artifact: tensor, first row, order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.tensors import ModelDescription, identity
from edgeproof.export.base.opening import describe_gguf, describe_graph
from edgeproof.export.onnx.weights.places import list_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.base.opening import Base
    from edgeproof.export.merge.merged import MergedModel
    from edgeproof.export.onnx.weights.places import Matrix

_LAYER = re.compile(r"(?:^|\.)(?:blk|layers)\.(\d+)\.")
OTHER = "other"


class Place(NamedTuple):
    """`rows` rows of the checkpoint's `source`, from `start` on, are the artifact's `stored` from row `at` on.

    `transform` takes chunks that are multiples of `group` rows.
    """

    stored: str
    source: str
    start: int
    rows: int
    columns: int
    at: int
    transform: Callable[[Float32Array], Float32Array] = identity
    group: int = 1

    @property
    def layer(self) -> int | None:
        """The layer's number; None for embedding, head and final norm."""
        found = _LAYER.search(self.stored)
        return int(found[1]) if found else None

    @property
    def part(self) -> str:
        """The part of the layer: "attention", "mlp" or "other"."""
        if "norm" in self.stored or self.layer is None:
            return OTHER
        if "attn" in self.stored:
            return "attention"
        return "mlp" if "ffn" in self.stored or ".mlp." in self.stored else OTHER


def find_places(opened: Base, model: MergedModel, kind: str) -> tuple[Place, ...]:
    """List the places of `model`, a merge over `opened`, in an artifact of `kind` ("gguf" or "onnx").

    Raises:
        UnsupportedError: an unsupported architecture.
        CheckpointError: a tensor is missing or of another shape.
        TokenizerError: the base's tokenizer cannot be read.

    """
    if kind == "gguf":
        return gguf_places(describe_gguf(opened, model))
    weights = list_weights(describe_graph(opened, model))
    return matrix_places((*([weights.embedding] if weights.embedding else []), *weights.matrices))


def gguf_places(description: ModelDescription) -> tuple[Place, ...]:
    """List the places of a GGUF file, without constants, which are not in the checkpoint."""
    places = []
    for output in description.tensors:
        if output.constant is None:
            columns = output.shape[-1] if output.shape else 1
            rows = 1
            for size in output.shape[:-1]:
                rows *= size
            places.append(Place(output.name, output.source, 0, rows, columns, 0, output.transform, output.row_group))
    return tuple(places)


def matrix_places(matrices: Iterable[Matrix]) -> tuple[Place, ...]:
    """List the places of an ONNX folder's matrices."""
    return tuple(
        Place(matrix.name, part.source, part.start, part.stop - part.start, matrix.columns, part.at)
        for matrix in matrices
        for part in matrix.parts
    )

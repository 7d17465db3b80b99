"""Identification of an ONNX folder's format from its graph, whichever program wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.onnx_folder import graph_file, nodes

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto


def identify_folder(folder: Path) -> str | None:
    """Name the format by the matrices' bits, zero points and blocks; None if it is not one of `FORMATS`.

    Raises:
        ArtifactError: as for `load_graph`.

    """
    import onnx

    model = load_graph(folder)
    found = set()
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            values = {attribute.name: attribute.i for attribute in node.attribute}
            zero_points = len(node.input) > 3 and bool(node.input[3])
            if values.get("block_size") != 32:
                return None
            found.add((values.get("bits", 4), zero_points))
    if not found:
        kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        floats = {
            kinds.get(node.input[1]) for node in model.graph.node if node.op_type in {"MatMul", "FusedMatMul"}
        } - {None}
        return "onnx-fp32" if floats == {onnx.TensorProto.FLOAT} else None
    known = {
        frozenset({(4, False)}): "onnx-int4",
        frozenset({(8, False)}): "onnx-int8",
        frozenset({(4, True), (8, True)}): "onnx-int4-mixed",
    }
    return known.get(frozenset(found))


def accuracy_levels(folder: Path) -> set[int]:
    """Return the accuracy levels of the 4-bit and 8-bit products (4 rounds activations to 8 bits); errors as above."""
    return {
        next((int(attribute.i) for attribute in node.attribute if attribute.name == "accuracy_level"), 0)
        for node in nodes(load_graph(folder).graph)
        if node.op_type == "MatMulNBits"
    }


def load_graph(folder: Path) -> ModelProto:
    """Load the graph that `folder`/genai_config.json names, without its weights.

    Raises:
        ArtifactError: as for `graph_file`; the file is not an ONNX graph.

    """
    import onnx
    from google.protobuf.message import DecodeError

    path = graph_file(folder)
    try:
        return onnx.load(str(path), load_external_data=False)
    except (OSError, DecodeError) as error:
        raise ArtifactError(f"{path} is not an ONNX graph: {error}", next_step="copy or export it again") from error

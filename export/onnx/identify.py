"""Tells which of the ONNX formats a folder is, from its graph, whoever wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError
from edgeproof.export.onnx.genai_config import MODEL_FILE

if TYPE_CHECKING:
    from pathlib import Path


def identify_folder(folder: Path) -> str | None:
    """Name the format by the bits of the matrices, their zero points and their blocks; None where it is none of ours.

    Raises:
        ArtifactError: there is no model.onnx, or it is no ONNX graph.

    """
    import onnx
    from google.protobuf.message import DecodeError

    path = folder / MODEL_FILE
    if not path.is_file():
        raise ArtifactError(
            f"the artifact {folder} is a folder without {MODEL_FILE}",
            next_step="give a .gguf file, or the folder that holds model.onnx and genai_config.json",
        )
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (OSError, DecodeError) as error:
        raise ArtifactError(f"{path} is no ONNX graph: {error}", next_step="copy it again, or export again") from error
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

"""Linear projection: a matrix, float32 or quantized, and its bias."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.export.onnx.weights.quantize import BLOCK

if TYPE_CHECKING:
    from edgeproof.export.onnx.graph.nodes import Build
    from edgeproof.export.onnx.weights.layout import StoredMatrix


def add_projection(build: Build, name: str, value: str) -> str:
    """Project `value` by the matrix `name` ("model.layers.0.attn.o_proj") and add its bias, if any."""
    place = "/" + name.replace(".", "/").replace("layers/", "layers.")
    output = add_linear(build, build.layout.matrices[name], place, value)
    bias = f"{name}.Add.bias"
    return build.nodes.add("Add", f"{place}/Add", [output, bias]) if bias in build.layout.vectors else output


def add_linear(build: Build, stored: StoredMatrix, place: str, value: str, *, output: str = "") -> str:
    """Multiply `value` by the transpose of a matrix; `output` defaults to PLACE/MatMul/output_0."""
    matrix, precision = stored.matrix, stored.precision
    outputs = [output or f"{place}/MatMul/output_0"]
    inputs = [value, *(array.name for array in stored.arrays)]
    if precision is None:
        return build.nodes.add("FusedMatMul", f"{place}/MatMul", inputs, outputs=outputs, contrib=True, transB=1)
    level = {"accuracy_level": build.accuracy_level} if build.accuracy_level else {}
    return build.nodes.add(
        "MatMulNBits",
        f"{place}/MatMul_Q{precision.bits}",
        inputs,
        outputs=outputs,
        contrib=True,
        K=matrix.columns,
        N=matrix.rows,
        bits=precision.bits,
        block_size=BLOCK,
        **level,
    )

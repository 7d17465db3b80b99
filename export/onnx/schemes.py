"""The four ONNX schemes: which weight is stored in how many bits, and by which of the builder's methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from edgeproof.export.onnx.quantize import BLOCK, Quantized, quantize_k_quant, quantize_symmetric
from edgeproof.export.onnx.shared_scales import quantize_as_q4_0
from edgeproof.export.onnx.weights import EMBEDDING, HEAD

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.onnx.quantize import Bits
    from edgeproof.export.onnx.weights import Matrix

Method = Literal["symmetric", "k_quant", "q4_0"]


class Precision(NamedTuple):
    """How a matrix is quantized; zero points are stored where the method is "k_quant"."""

    bits: Bits
    method: Method

    @property
    def type(self) -> str:
        """The name in the manifest."""
        return {"symmetric": f"int{self.bits}", "k_quant": f"uint{self.bits} k_quant", "q4_0": "int4 q4_0"}[self.method]

    def quantize(self, rows: Float32Array) -> Quantized:
        """Quantize float32 [n, columns]."""
        if self.method == "symmetric":
            return quantize_symmetric(rows, self.bits)
        return quantize_k_quant(rows, self.bits) if self.method == "k_quant" else quantize_as_q4_0(rows)


def choose_precision(scheme: str, matrix: Matrix, layers: int, *, shared_scales: bool = False) -> Precision | None:
    """Return how `scheme` stores `matrix`; None for float32.

    `shared_scales` takes llama.cpp's Q4_0 for "onnx-int4", where rows are a multiple of its block.

    An embedding table that is not the head's stays in float32, as the builder leaves it.
    """
    if scheme == "onnx-fp32" or matrix.name == EMBEDDING:
        return None
    if scheme == "onnx-int4":
        return Precision(4, "q4_0" if shared_scales and matrix.columns % BLOCK == 0 else "symmetric")
    if scheme == "onnx-int8":
        return Precision(8, "symmetric")
    assert scheme == "onnx-int4-mixed", scheme
    return Precision(8 if _is_sensitive(matrix.name, layers) else 4, "k_quant")


def _is_sensitive(name: str, layers: int) -> bool:
    """Whether the builder's k_quant_mixed gives the matrix 8 bits.

    Those are the head, and q/k/v and down projections in the first and last eighth of the layers and in every third one
    between: llama.cpp's choice for Q4_K_M (`use_more_bits`).
    """
    if name == HEAD:
        return True
    layer = int(name.split(".")[2])
    chosen = layer < layers / 8 or layer >= 7 * layers / 8 or (layer - round(layers / 8)) % 3 == 2
    return chosen and name.endswith((".qkv_proj", ".down_proj"))

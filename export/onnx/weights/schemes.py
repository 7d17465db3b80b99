"""ONNX schemes: bits and quantization method of each weight, as in onnxruntime-genai's builder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from edgeproof.export.onnx.weights.places import EMBEDDING, HEAD
from edgeproof.export.onnx.weights.quantize import BLOCK, Quantized, quantize_k_quant, quantize_symmetric
from edgeproof.export.onnx.weights.shared_scales import quantize_as_q4_0

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.onnx.weights.places import Matrix
    from edgeproof.export.onnx.weights.quantize import Bits

Method = Literal["symmetric", "k_quant", "q4_0"]


class Precision(NamedTuple):
    """Quantization of a matrix; zero points are stored for the method "k_quant"."""

    bits: Bits
    method: Method

    @property
    def type(self) -> str:
        """Name in the manifest."""
        return {"symmetric": f"int{self.bits}", "k_quant": f"uint{self.bits} k_quant", "q4_0": "int4 q4_0"}[self.method]

    def quantize(self, rows: Float32Array) -> Quantized:
        """Quantize float32 [n, columns]."""
        if self.method == "symmetric":
            return quantize_symmetric(rows, self.bits)
        return quantize_k_quant(rows, self.bits) if self.method == "k_quant" else quantize_as_q4_0(rows)


def choose_precision(
    scheme: str, matrix: Matrix, layers: int, *, shared_scales: bool = False, small_embedding: bool = False
) -> Precision | None:
    """Return the precision of `matrix` in `scheme`; None for float32.

    `shared_scales` uses llama.cpp's Q4_0 for "onnx-int4", if rows are a multiple of its block. An untied embedding
    table stays in float32, as in the builder; with `small_embedding` it is stored like the head of a tied model.
    """
    if scheme == "onnx-fp32" or (matrix.name == EMBEDDING and not small_embedding):
        return None
    if scheme == "onnx-int4":
        return Precision(4, "q4_0" if shared_scales and matrix.columns % BLOCK == 0 else "symmetric")
    if scheme == "onnx-int8":
        return Precision(8, "symmetric")
    assert scheme == "onnx-int4-mixed", scheme
    return Precision(8 if _is_sensitive(matrix.name, layers) else 4, "k_quant")


def _is_sensitive(name: str, layers: int) -> bool:
    """Whether the builder's k_quant_mixed gives the matrix 8 bits.

    These are the head (and an untied table), and q/k/v and down projections in the first and last eighth of the layers
    and in every third one in between, as in llama.cpp's Q4_K_M (`use_more_bits`).
    """
    if name in {HEAD, EMBEDDING}:
        return True
    layer = int(name.split(".")[2])
    chosen = layer < layers / 8 or layer >= 7 * layers / 8 or (layer - round(layers / 8)) % 3 == 2
    return chosen and name.endswith((".qkv_proj", ".down_proj"))

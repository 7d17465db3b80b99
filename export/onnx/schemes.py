"""The four ONNX schemes: which weight is stored in how many bits, and by which of the builder's methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from edgeproof.export.onnx.quantize import Quantized, quantize_k_quant, quantize_symmetric
from edgeproof.export.onnx.weights import EMBEDDING, HEAD

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.onnx.quantize import Bits

Method = Literal["symmetric", "k_quant"]


class Precision(NamedTuple):
    """How a matrix is quantized; zero points are stored where the method is "k_quant"."""

    bits: Bits
    method: Method

    @property
    def type(self) -> str:
        """The name in the manifest."""
        return f"int{self.bits}" if self.method == "symmetric" else f"uint{self.bits} k_quant"

    def quantize(self, rows: Float32Array) -> Quantized:
        """Quantize float32 [n, columns]."""
        return quantize_symmetric(rows, self.bits) if self.method == "symmetric" else quantize_k_quant(rows, self.bits)


def choose_precision(scheme: str, name: str, layers: int) -> Precision | None:
    """Return how `scheme` stores the matrix `name`; None for float32.

    An embedding table that is not the head's stays in float32, as the builder leaves it.
    """
    if scheme == "onnx-fp32" or name == EMBEDDING:
        return None
    if scheme == "onnx-int4":
        return Precision(4, "symmetric")
    if scheme == "onnx-int8":
        return Precision(8, "symmetric")
    assert scheme == "onnx-int4-mixed", scheme
    return Precision(8 if _is_sensitive(name, layers) else 4, "k_quant")


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

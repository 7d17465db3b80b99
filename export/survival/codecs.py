"""Codecs of the stored types: rows to stored arrays, and back to weights and codes.

```
  float32 [n, columns] ── quantize ──▶ Raw (as stored) ─┬─ weights ──▶ float32 [n, columns]
                                                       └─ codes ────▶ integers [n, columns]
```
Quantization uses the exporter's code (llama.cpp's kernels, onnxruntime's methods); a GGUF's weights are dequantized by
the official `gguf` package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from edgeproof.export.gguf import kernels
from edgeproof.export.gguf.dequantized import dequantized
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.onnx.weights.schemes import Precision
    from numpy.typing import NDArray

Raw = tuple["NDArray[np.generic]", ...]
"""Stored form of n rows: arrays of n rows each."""

_HEADS = {"Q4_0": 2, "Q4_1": 4, "IQ4_NL": 2, "Q5_0": 2, "Q5_1": 4, "Q8_0": 2}
"""Bytes before the codes (and the fifth bits) in llama.cpp's blocks of 32: ggml-common.h."""
_FLOATS = {"F32": "<u4", "F16": "<u2", "BF16": "<u2"}


class Codec(Protocol):
    """One stored type, for one tensor."""

    @property
    def type(self) -> str:
        """Name of the type ("Q4_K", "int4")."""

    @property
    def why_not(self) -> str:
        """Why rows cannot be quantized like the file's; "" if they can."""

    def quantize(self, rows: Float32Array) -> Raw:
        """Quantize float32 [n, columns]."""

    def weights(self, raw: Raw, columns: int) -> Float32Array:
        """Dequantize `raw` to float32 [n, columns]."""

    def codes(self, raw: Raw, columns: int) -> NDArray[np.generic] | None:
        """Return the codes, [n, columns] (in any fixed order); None for types whose codes are not supported."""


@dataclass(frozen=True)
class GgufCodec:
    """A llama.cpp type. `importance` is float32 [columns], or None."""

    kind: GGMLQuantizationType
    importance: Float32Array | None = None

    @property
    def type(self) -> str:
        """llama.cpp's name of the type."""
        return str(self.kind.name)

    @property
    def why_not(self) -> str:
        """What is missing to quantize rows like the file's."""
        if self.kind not in kernels.WRITABLE:
            return f"{self.kind.name} is not written by llama.cpp's quantizer"
        if self.importance is None and kernels.needs_importance(self.kind):
            return f"{self.kind.name} needs the importance matrix of its export (--imatrix)"
        return ""

    def quantize(self, rows: Float32Array) -> Raw:
        """Quantize with llama.cpp's kernel."""
        return (kernels.quantize(self.kind, rows, self.importance),)

    def weights(self, raw: Raw, columns: int) -> Float32Array:
        """Dequantize with the `gguf` package."""
        return dequantized(np.ascontiguousarray(raw[0]).reshape(-1).view(np.uint8), self.kind).reshape(-1, columns)

    def codes(self, raw: Raw, columns: int) -> NDArray[np.generic] | None:
        """Unpack the codes (ggml-common.h); for a float type, return the bits of each weight."""
        name, stored = self.type, np.ascontiguousarray(raw[0]).reshape(-1).view(np.uint8)
        if name in _FLOATS:
            values: NDArray[np.generic] = stored.view(_FLOATS[name]).reshape(-1, columns)
            return values
        blocks = stored.reshape(-1, GGML_QUANT_SIZES[self.kind][1])
        if name in _HEADS:
            return _short_codes(name, blocks).reshape(-1, columns)
        if name in {"Q4_K", "Q5_K"}:
            packed = blocks[:, -128:].reshape(-1, 4, 1, 32)
            found: NDArray[np.uint8] = np.concatenate([packed & 15, packed >> 4], axis=2).reshape(-1, 8, 32)
            if name == "Q5_K":
                high = blocks[:, 16:48].reshape(-1, 1, 32) >> np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
                found |= (high & 1) << 4
            return found.reshape(-1, columns)
        if name == "Q6_K":
            low = blocks[:, :128].reshape(-1, 2, 1, 64)
            high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.arange(0, 8, 2, dtype=np.uint8).reshape(1, 1, 4, 1)
            found = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32) | (high & 3) << 4
            return found.reshape(-1, columns)
        return None


@dataclass(frozen=True)
class OnnxCodec:
    """A precision of MatMulNBits in blocks of 32, or float32 (None)."""

    precision: Precision | None

    @property
    def type(self) -> str:
        """The name in the manifest."""
        return self.precision.type if self.precision else "float32"

    @property
    def why_not(self) -> str:
        """Empty: all of these are written here."""
        return ""

    def quantize(self, rows: Float32Array) -> Raw:
        """Quantize with the exporter's code."""
        if self.precision is None:
            return (np.ascontiguousarray(rows, np.float32),)
        return tuple(array for array in self.precision.quantize(rows) if array is not None)

    def weights(self, raw: Raw, columns: int) -> Float32Array:
        """Return (code − zero point) · scale."""
        if self.precision is None:
            return np.array(raw[0], np.float32).reshape(-1, columns)
        bits, scales = self.precision.bits, np.asarray(raw[1], np.float32)
        count, blocks = scales.shape
        zeros: NDArray[np.generic] = np.full((1, 1), 1 << (bits - 1), np.uint8)
        if len(raw) > 2:
            zeros = _unpacked(raw[2].reshape(count, -1), bits)[:, :blocks]
        codes = _unpacked(raw[0].reshape(count, -1), bits).reshape(count, blocks, -1)
        values = (codes.astype(np.float32) - zeros.astype(np.float32)[..., np.newaxis]) * scales[..., np.newaxis]
        return np.ascontiguousarray(values.reshape(count, -1)[:, :columns])

    def codes(self, raw: Raw, columns: int) -> NDArray[np.generic] | None:
        """Unpack the codes; for float32, return the bits of each weight."""
        if self.precision is None:
            return np.ascontiguousarray(raw[0], np.float32).view(np.uint32).reshape(-1, columns)
        return _unpacked(raw[0].reshape(len(raw[0]), -1), self.precision.bits)[:, :columns]


def same(one: Raw, other: Raw) -> bool:
    """Whether two stored forms have equal bytes."""
    return all(
        np.array_equal(left.reshape(-1).view(np.uint8), right.reshape(-1).view(np.uint8))
        for left, right in zip(map(np.ascontiguousarray, one), map(np.ascontiguousarray, other), strict=True)
    )


def _short_codes(name: str, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    head = _HEADS[name]
    if name == "Q8_0":
        return data[:, head:]
    packed = data[:, -16:]
    codes = np.concatenate([packed & 15, packed >> 4], axis=1)
    if name in {"Q5_0", "Q5_1"}:
        codes = codes | np.unpackbits(data[:, head : head + 4], axis=1, bitorder="little") << 4
    return codes


def _unpacked(packed: NDArray[np.generic], bits: int) -> NDArray[np.uint8]:
    """Unpack [n, bytes] to [n, codes]; the low half byte comes first."""
    data = packed.astype(np.uint8, copy=False)
    return data if bits == 8 else np.stack([data & 15, data >> 4], axis=-1).reshape(len(data), -1)

"""Quantizer with llama.cpp's Q4_0 codes, repacked for MatMulNBits, so that GGUF and ONNX share 4-bit weights.

Both store (code − 8) · scale in blocks of 32 along a row. They differ in the scale's type (float16 in Q4_0, widened
here exactly), the order of the half bytes, and the rounding of ties.
Source of the block: llama.cpp, `ggml-common.h`, block_q4_0: a float16, then weights 0…15 in the low halves of 16 bytes
and 16…31 in the high halves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import CheckpointError
from edgeproof.export.onnx.weights.quantize import BLOCK, Quantized

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Float32Array

SHARED = "Q4_0"


def quantize_as_q4_0(rows: Float32Array) -> Quantized:
    """Quantize float32 [n, K] with llama.cpp's kernel; K is a multiple of 32.

    Raises:
        CheckpointError: a weight is too large for a float16 scale.

    """
    from edgeproof.export.gguf import kernels
    from gguf import GGMLQuantizationType

    stored = kernels.quantize(GGMLQuantizationType.Q4_0, rows)
    if not kernels.is_valid(GGMLQuantizationType.Q4_0, stored):
        raise CheckpointError(
            f"a weight of {float(np.abs(rows).max()):g} is too large for a float16 scale (which ends at 65,504)",
            next_step="omit --shared-scales",
        )
    count, columns = rows.shape
    blocks = stored.reshape(-1, 2 + BLOCK // 2)
    scales = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
    halves = blocks[:, 2:]
    codes = np.concatenate([halves & 15, halves >> 4], axis=1)
    packed = codes[:, ::2] | np.left_shift(codes[:, 1::2], 4, dtype=np.uint8)
    return Quantized(packed.reshape(count, -1), scales.reshape(count, columns // BLOCK), None)

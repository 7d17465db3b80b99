"""Dequantizes bytes of a GGUF tensor with the official `gguf` package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from gguf.constants import GGML_QUANT_SIZES

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Float32Array
    from gguf.constants import GGMLQuantizationType
    from numpy.typing import NDArray

_PIECE = 2**18
"""Values dequantized at a time; a multiple of every type's block."""


def dequantized(raw: NDArray[np.generic], kind: GGMLQuantizationType) -> Float32Array:
    """Return the values of the bytes `raw` of whole blocks, float32 [values]."""
    from gguf.quants import dequantize

    block, width = GGML_QUANT_SIZES[kind]
    values = np.empty(raw.size // width * block, np.float32)
    for first in range(0, values.size, _PIECE):
        # As one row: gguf loops over groups of 16 rows in Python.
        piece = raw[first // block * width : (first + _PIECE) // block * width]
        values[first : first + _PIECE] = dequantize(piece[np.newaxis], kind)[0]
    return values

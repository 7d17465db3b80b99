"""Blockwise quantizers for MatMulNBits in numpy: bytes equal to onnxruntime's, rows independent.

```
  rows [n, K] ──▶ blocks of 32 along K (the last one padded with zeros)
               ──▶ codes [n, ⌈K/32⌉, 32·bits/8] uint8, low nibble first · scales [n, ⌈K/32⌉] · zero points
```
Layout: onnxruntime, `docs/ContribOperators.md`, com.microsoft.MatMulNBits. A weight is (code − zero point) · scale;
where no zero points are stored, they are 8 of 4 bits and 128 of 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Float32Array
    from numpy.typing import NDArray

BLOCK = 32
PIECE = 2**17
"""Weights quantized at a time, so that all intermediate arrays stay in a core's cache."""
STEPS = 20
"""Ranges that the k-quant search tries."""

_ALMOST_HALF = np.nextafter(np.float32(0.5), np.float32(0))
"""floor(x + this) rounds x ≥ 0 half up; with 0.5, the sum would round up for x just below 0.5."""

Bits = Literal[4, 8]
_Real = TypeVar("_Real", np.float32, np.float64)


class Quantized(NamedTuple):
    """Rows as stored: codes uint8 [n, bytes], scales float32 [n, blocks], zero points uint8 [n, bytes] or None."""

    codes: NDArray[np.uint8]
    scales: Float32Array
    zero_points: NDArray[np.uint8] | None


def block_count(columns: int) -> int:
    """Return the number of blocks in a row."""
    return -(-columns // BLOCK)


def code_bytes(columns: int, bits: Bits) -> int:
    """Return the bytes of a row's codes."""
    return block_count(columns) * BLOCK * bits // 8


def zero_point_bytes(columns: int, bits: Bits) -> int:
    """Return the bytes of a row's zero points; a row begins on a byte."""
    return -(-block_count(columns) * bits // 8)


def quantize_symmetric(rows: Float32Array, bits: Bits) -> Quantized:
    """Round `rows`, float32 [n, K], to the nearest code, symmetric around 0: the builder's default (MLAS, `q4_dq.cpp`).

    The weight of largest magnitude in a block becomes exactly the lowest code (scale = weight / −2^(bits−1)), so scales
    are signed; codes above the highest are clipped to it. Ties go up.
    """
    count, columns = rows.shape
    blocks = _blocks(rows)
    half = 1 << (bits - 1)
    codes = np.empty((len(blocks), BLOCK * bits // 8), np.uint8)
    scales = np.empty((len(blocks), 1), np.float32)
    step = PIECE // BLOCK
    for start in range(0, len(blocks), step):
        part = blocks[start : start + step]
        high, low = part.max(axis=1, keepdims=True), part.min(axis=1, keepdims=True)
        scale = np.where(np.abs(high) > np.abs(low), high, low) / np.float32(-half)
        scales[start : start + step] = scale
        # A block of zeros keeps a factor of 0; a scale whose reciprocal overflows gives clipped codes.
        with np.errstate(over="ignore", invalid="ignore"):
            factor = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
            values = part * factor
        values += np.float32(half)
        values += _ALMOST_HALF
        _limit(values, 2 * half - 1)
        codes[start : start + step] = _pack(values.astype(np.uint8), bits)
    stored = codes.reshape(count, -1)
    stored[:, -(-columns * bits // 8) :] = 0  # the kernel leaves a row's padding at zero
    return Quantized(stored, scales.reshape(count, block_count(columns)), None)


def quantize_k_quant(rows: Float32Array, bits: Bits) -> Quantized:
    """Round `rows`, float32 [n, K], with a zero point, searching each block's best range: the builder's k_quant.

    The algorithm is onnxruntime's `quant_tensor_k_quant_cpu`, which follows ggml's `make_qkx2_quants`: it tries 20
    ranges, each with the least-squares scale and minimum, errors weighted by |w| + rms(w). The order of operations and
    the precision of each step are onnxruntime's, so the bytes are equal.
    """
    count, columns = rows.shape
    blocks = _blocks(rows)
    codes = np.empty((len(blocks), BLOCK * bits // 8), np.uint8)
    scales = np.empty(len(blocks), np.float32)
    zeros = np.empty(len(blocks), np.uint8)
    step = PIECE // BLOCK
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # D is 0 in a flat block, never the best
        for start in range(0, len(blocks), step):
            part = slice(start, start + step)
            values, scales[part], zeros[part] = _search(np.ascontiguousarray(blocks[part].T), 2**bits - 1)
            codes[part] = _pack(values, bits)
    blocks_a_row = block_count(columns)
    packed = _pack_zero_points(zeros.reshape(count, blocks_a_row), bits)
    return Quantized(codes.reshape(count, -1), scales.reshape(count, blocks_a_row), packed)


def _search(data: Float32Array, highest: int) -> tuple[NDArray[np.uint8], Float32Array, NDArray[np.uint8]]:
    """Return codes [n, 32], scales [n] and zero points [n] of blocks `data`, float32 [32, n]: a column is a block."""
    size = np.abs(data)
    weights = np.sqrt(_sum(data * data) / BLOCK) + size
    low, high = data.min(axis=0), data.max(axis=0)
    weight_sum, data_sum = _sum(weights), _sum(np.multiply(weights, data, out=size))
    values, product = np.empty_like(data), size
    inverse = _inverse(np.float32(highest), low, high)
    best_scale = np.float32(1) / inverse
    _codes(inverse, data, low, highest, out=values)
    best_error = _error(best_scale, values, low, data, weights, scratch=product)
    for number in range(STEPS):
        # `low` is the best minimum so far, not the block's: onnxruntime's loop continues from it, ggml's does not.
        factor = _inverse(np.float32(-1 + 0.1 * number + highest), low, high)
        _codes(factor, data, low, highest, out=values)
        weighed = weights * values
        code_sum = _sum(weighed)
        square_sum = _sum(np.multiply(weighed, values, out=product))
        product_sum = _sum(np.multiply(weighed, data, out=product))
        determinant = weight_sum * square_sum - code_sum**2
        scale = (weight_sum * product_sum - data_sum * code_sum) / determinant
        minimum = (square_sum * data_sum - code_sum * product_sum) / determinant
        error = _error(scale, values, minimum, data, weights, scratch=product)
        better = error < best_error
        np.copyto(best_error, error, where=better)
        np.copyto(best_scale, scale, where=better)
        np.copyto(low, minimum, where=better)
    zeros = _limit((-low / best_scale).round(), highest).astype(np.uint8)
    final = np.divide(data, best_scale.astype(np.float64))
    final += zeros
    _limit(np.round(final, out=final), highest)
    return np.ascontiguousarray(final.astype(np.uint8).T), best_scale, zeros


def _inverse(factor: np.float32, low: Float32Array, high: Float32Array) -> Float32Array:
    """Return factor / (high − low), 1 for blocks of equal weights."""
    inverse: Float32Array = np.divide(factor, high - low, out=np.ones_like(low), where=low != high)
    return inverse


def _codes(factor: Float32Array, data: Float32Array, low: Float32Array, highest: int, *, out: Float32Array) -> None:
    """Write the nearest code of (data − low) · factor to `out`."""
    np.subtract(data, low, out=out)
    np.multiply(factor, out, out=out)
    np.rint(out, out=out)
    np.clip(out, 0, highest, out=out)


def _error(
    scale: Float32Array,
    values: Float32Array,
    low: Float32Array,
    data: Float32Array,
    weights: Float32Array,
    *,
    scratch: Float32Array,
) -> Float32Array:
    """Return each block's weighted squared error; `scratch` is overwritten."""
    np.multiply(scale, values, out=scratch)
    scratch += low
    scratch -= data
    np.square(scratch, out=scratch)
    return _sum(np.multiply(weights, scratch, out=scratch))


def _sum(values: Float32Array) -> Float32Array:
    """Sum the 32 rows of [32, n] in numpy's order for 32 contiguous values, on which onnxruntime's bytes depend.

    Eight sums of every eighth value, then their pairs (numpy, `pairwise_sum`); as rows this is four times as fast.
    """
    partial = values[:8] + values[8:16]
    partial += values[16:24]
    partial += values[24:]
    for _ in range(3):
        partial = partial[::2] + partial[1::2]
    total: Float32Array = partial[0]
    return total


def _limit(values: NDArray[_Real], highest: int) -> NDArray[_Real]:
    """Clip to 0 … highest in place; NaN (0/0 in a block of denormals) becomes 0."""
    np.fmax(values, 0, out=values)
    return np.fmin(values, highest, out=values)


def _blocks(rows: Float32Array) -> Float32Array:
    """Split rows into blocks, float32 [n · blocks, 32], the last one of a row padded with zeros."""
    count, columns = rows.shape
    missing = block_count(columns) * BLOCK - columns
    filled = np.pad(rows, ((0, 0), (0, missing))) if missing else rows
    return np.ascontiguousarray(filled, dtype=np.float32).reshape(count * block_count(columns), BLOCK)


def _pack(codes: NDArray[np.uint8], bits: Bits) -> NDArray[np.uint8]:
    return codes if bits == 8 else _nibbles(codes)


def _pack_zero_points(zeros: NDArray[np.uint8], bits: Bits) -> NDArray[np.uint8]:
    """Pack [n, blocks]; an unused half byte holds 8, the neutral zero point."""
    if bits == 8:
        return zeros
    if zeros.shape[1] % 2:
        zeros = np.pad(zeros, ((0, 0), (0, 1)), constant_values=8)
    return _nibbles(zeros)


def _nibbles(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pack two columns into one byte, the first into the low half."""
    return values[:, ::2] | np.left_shift(values[:, 1::2], 4, dtype=np.uint8)

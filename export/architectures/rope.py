"""Rotary embeddings in llama.cpp's layout: rows permuted within a head, and frequency divisors."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeproof.contracts.tensors import Float32Array

    from .hyper_parameters import Rope


def interleave_rows(head_dim: int) -> Callable[[Float32Array], Float32Array]:
    """Return the transform of q and k weights, [n·head_dim, columns], for graphs that rotate neighbouring dimensions.

    Hugging Face rotates dimension i with i + head_dim/2, llama.cpp's Llama graph 2i with 2i + 1.
    """
    return partial(_interleave, head_dim=head_dim)


def separate_rows(head_dim: int) -> Callable[[Float32Array], Float32Array]:
    """Return the inverse of `interleave_rows`."""
    return partial(_separate, head_dim=head_dim)


def interleave_values(head_dim: int) -> Callable[[Float32Array], Float32Array]:
    """Return the same transform for a bias, which is one row [1, n·head_dim]."""
    return partial(_interleave_row, head_dim=head_dim)


def _interleave(rows: Float32Array, *, head_dim: int) -> Float32Array:
    count, columns = rows.shape
    halves = rows.reshape(count // head_dim, 2, head_dim // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(count, columns)


def _separate(rows: Float32Array, *, head_dim: int) -> Float32Array:
    count, columns = rows.shape
    pairs = rows.reshape(count // head_dim, head_dim // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(count, columns)


def _interleave_row(rows: Float32Array, *, head_dim: int) -> Float32Array:
    return _interleave(rows.reshape(-1, 1), head_dim=head_dim).reshape(rows.shape)


def llama3_divisors(rope: Rope) -> Float32Array:
    """Return llama3's divisor of each frequency, float32 [dimensions / 2].

    Computed in float32 and in the order of operations of llama.cpp's converter (torch turns a / x into (1 / x) · a), so
    that the bits are equal; only the power is in float64, which equals torch's after rounding.
    """
    assert rope.original_context is not None
    one = np.float32(1)
    factor, context = np.float32(rope.factor), np.float32(rope.original_context)
    low, high = rope.low_frequency_factor, rope.high_frequency_factor
    exponents = np.arange(0, rope.dimensions, 2, dtype=np.float32) / np.float32(rope.dimensions)
    frequencies = one / np.power(np.float64(rope.theta), exponents.astype(np.float64)).astype(np.float32)
    divisors = np.ones(len(frequencies), dtype=np.float32)
    for index, frequency in enumerate(frequencies):
        wavelength = (one / frequency) * np.float32(2 * math.pi)
        if wavelength < rope.original_context / high:
            continue
        if wavelength > rope.original_context / low:
            divisors[index] = factor
        else:
            smooth = ((one / wavelength) * context - np.float32(low)) / np.float32(high - low)
            divisors[index] = one / ((one - smooth) / factor + smooth)
    return divisors


def longrope_attention_factor(rope: Rope) -> float:
    """Return longrope's factor of cos and sin: √(1 + ln(factor) / ln(original context)) (arXiv 2402.13753)."""
    assert rope.original_context is not None
    if rope.factor <= 1.0:
        return 1.0
    return math.sqrt(1 + math.log(rope.factor) / math.log(rope.original_context))


def yarn_attention_factor(factor: float) -> float:
    """Return yarn's attention factor: 0.1·ln(factor) + 1 (arXiv 2309.00071, eq. 22)."""
    return 0.1 * math.log(factor) + 1.0 if factor > 1.0 else 1.0

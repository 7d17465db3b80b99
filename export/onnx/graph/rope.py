"""Tables of rotary embeddings, computed exactly as in torch and transformers, since every bit affects the logits.

Source of the formulas: transformers, `modeling_rope_utils.py`; papers: see `Rope`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.export.architectures.rope import longrope_attention_factor, yarn_attention_factor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.architectures.hyper_parameters import Rope

ROWS = 2048
"""Positions computed at a time."""

_ONE = np.float32(1)


class RopeTable(NamedTuple):
    """cos and sin by position and frequency.

    Attributes:
        frequencies: float32 [dimensions / 2], radians per token.
        length: number of positions.
        scale: factor of cos and sin.

    """

    frequencies: Float32Array
    length: int
    scale: float

    def rows(self) -> Iterator[tuple[Float32Array, Float32Array]]:
        """Yield cos and sin, float32 [positions, dimensions / 2], for one range of positions at a time."""
        for start in range(0, self.length, ROWS):
            positions = np.arange(start, min(start + ROWS, self.length), dtype=np.float32)
            angles = np.outer(positions, self.frequencies)
            # In float64, then rounded to the nearest float32; torch's own value sometimes differs in the last bit.
            cosines, sines = (of(angles, dtype=np.float64).astype(np.float32) for of in (np.cos, np.sin))
            yield cosines * np.float32(self.scale), sines * np.float32(self.scale)


def rope_tables(rope: Rope, context: int) -> tuple[RopeTable, ...]:
    """Return one table of `context` positions; two for longrope: within and beyond the original context."""
    if rope.scaling == "longrope":
        assert rope.original_context is not None
        scale = longrope_attention_factor(rope)
        return (
            RopeTable(_divided(rope, rope.short_factors), min(rope.original_context, context), scale),
            RopeTable(_divided(rope, rope.long_factors), context, scale),
        )
    if rope.scaling == "yarn":
        stated = rope.attention_factor
        scale = yarn_attention_factor(rope.factor) if stated is None else stated
        return (RopeTable(_yarn(rope), context, scale),)
    frequencies = _ONE / _powers(rope)
    if rope.scaling == "linear":
        frequencies = frequencies / np.float32(rope.factor)
    elif rope.scaling == "llama3":
        frequencies = _llama3(rope, frequencies)
    return (RopeTable(frequencies, context, 1.0),)


def _powers(rope: Rope) -> Float32Array:
    """Return theta ** (2i / dimensions), in float64, which equals torch's float32 power after rounding."""
    exponents = np.arange(0, rope.dimensions, 2, dtype=np.float32) / np.float32(rope.dimensions)
    return np.power(np.float64(np.float32(rope.theta)), exponents.astype(np.float64)).astype(np.float32)


def _divided(rope: Rope, factors: tuple[float, ...]) -> Float32Array:
    return _ONE / (np.array(factors, np.float32) * _powers(rope))


def _llama3(rope: Rope, frequencies: Float32Array) -> Float32Array:
    assert rope.original_context is not None
    context = rope.original_context
    low, high, factor = rope.low_frequency_factor, rope.high_frequency_factor, np.float32(rope.factor)
    wavelengths = (_ONE / frequencies) * np.float32(2 * math.pi)
    smooth = ((_ONE / wavelengths) * np.float32(context) - np.float32(low)) / np.float32(high - low)
    long = wavelengths > np.float32(context / low)
    short = wavelengths < np.float32(context / high)
    stretched = np.where(long, frequencies / factor, frequencies)
    smoothed = (_ONE - smooth) * stretched / factor + smooth * stretched
    chosen: Float32Array = np.where(long | short, stretched, smoothed)
    return chosen


def _yarn(rope: Rope) -> Float32Array:
    assert rope.original_context is not None
    dimensions, powers = rope.dimensions, _powers(rope)
    low, high = (
        dimensions * math.log(rope.original_context / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))
        for turns in (rope.beta_fast or 32, rope.beta_slow or 1)
    )
    first, last = max(math.floor(low), 0), min(math.ceil(high), dimensions - 1)
    width = last - first if last != first else 0.001
    ramp = (np.arange(dimensions // 2, dtype=np.float32) - np.float32(first)) / np.float32(width)
    kept = _ONE - np.clip(ramp, 0, 1)
    mixed: Float32Array = (_ONE / (np.float32(rope.factor) * powers)) * (_ONE - kept) + (_ONE / powers) * kept
    return mixed

"""Sums over a tensor's chunks, from which all survival measures are computed.

qB, qM, q2 and qH are the base W, the merge W + Δ, the merge applied twice W + 2Δ, and the merge rounded to bfloat16,
all quantized in the artifact's type and dequantized; F is the dequantized file:

  v = [F − qB,  qM − qB,  q2 − qB,  qH − qB,  Δ,  F − W]          Gram matrix G = Σ v vᵀ

⟨Δ_effective, Δ⟩, ‖Δ_effective‖ and every distance between F and a hypothesis are entries of G or sums of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.export.survival.codecs import same

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.survival.codecs import Codec, Raw
    from numpy.typing import NDArray


class Of(IntEnum):
    """Rows of G."""

    FILE = 0
    MERGED = 1
    TWICE = 2
    HALF = 3
    DELTA = 4
    ERROR = 5


HYPOTHESES = {"base": None, "merged": Of.MERGED, "twice": Of.TWICE, "bf16": Of.HALF}
"""Hypotheses about the file, with their rows of G (the base is the origin)."""


@dataclass
class Sums:
    """Sums over the rows compared so far. `differing`: weights that differ from a hypothesis, by hypothesis.

    Attributes:
        gram: float64 [6, 6].
        weights: number of weights.
        base_square: ‖W‖².
        rounding_square: ‖qB − W‖².
        error_square: Σ (F − W − Δ)²·Δ², for the standard error of a projection.
        moved: number of codes that differ from the base's, of the `codes` compared.

    """

    gram: NDArray[np.float64] = field(default_factory=lambda: np.zeros((6, 6)))
    weights: int = 0
    base_square: float = 0.0
    rounding_square: float = 0.0
    error_square: float = 0.0
    moved: int = 0
    codes: int = 0
    differing: dict[str, int] = field(default_factory=lambda: dict.fromkeys(HYPOTHESES, 0))

    def __add__(self, other: Sums) -> Sums:
        """Add the sums of two tensors."""
        return Sums(
            self.gram + other.gram,
            self.weights + other.weights,
            self.base_square + other.base_square,
            self.rounding_square + other.rounding_square,
            self.error_square + other.error_square,
            self.moved + other.moved,
            self.codes + other.codes,
            {name: count + other.differing[name] for name, count in self.differing.items()},
        )


class Rows(NamedTuple):
    """Rows of a tensor in the artifact's order, float32 [n, columns]; `merged` is `base` for an untouched tensor."""

    base: Float32Array
    merged: Float32Array


def measure(rows: Rows, stored: Raw, codec: Codec, *, alike: bool, touched: bool) -> Sums:
    """Compare one chunk of a file with base and merge.

    Args:
        rows: rows of the checkpoint.
        stored: rows of the file.
        codec: codec of the file's tensor.
        alike: whether the base can be quantized like the file's tensor; if not, only F − W and Δ are summed.
        touched: whether an adapter changes the tensor.

    """
    columns = rows.base.shape[1]
    file = codec.weights(stored, columns)
    sums = Sums(weights=file.size, base_square=_square(rows.base))
    vectors = np.zeros((6, file.size), np.float32)
    delta = rows.merged - rows.base
    vectors[Of.DELTA] = delta.reshape(-1)
    vectors[Of.ERROR] = (file - rows.base).reshape(-1)
    rest = vectors[Of.ERROR] - vectors[Of.DELTA]
    sums.error_square = float(np.square(rest * vectors[Of.DELTA], dtype=np.float64).sum()) if touched else 0.0
    if alike:
        _compare(sums, vectors, rows, stored, codec, file, touched=touched)
    sums.gram = (vectors @ vectors.T).astype(np.float64)
    return sums


def _compare(  # noqa: PLR0917 (a part of measure, named for readability)
    sums: Sums, vectors: Float32Array, rows: Rows, stored: Raw, codec: Codec, file: Float32Array, *, touched: bool
) -> None:
    """Quantize every hypothesis like the file, and write its row to `vectors`."""
    columns = rows.base.shape[1]
    known: list[tuple[Raw, Float32Array]] = [(stored, file)]

    def quantized(values: Float32Array) -> Float32Array:
        raw = codec.quantize(values)
        for other, weights in known:
            if same(raw, other):
                return weights
        known.append((raw, codec.weights(raw, columns)))
        return known[-1][1]

    base = quantized(rows.base)
    if base is not file:
        codes = codec.codes(stored, columns)
        others = codec.codes(known[-1][0], columns)
        if codes is not None and others is not None:
            sums.moved = int(np.count_nonzero(codes != others))
    sums.codes = file.size
    sums.rounding_square = _square(base - rows.base)
    sums.differing["base"] = _differing(file, base)
    vectors[Of.FILE] = (file - base).reshape(-1)
    if touched:
        hypotheses = {"merged": rows.merged, "twice": rows.merged + (rows.merged - rows.base)}
    else:
        hypotheses = {}
        sums.differing["merged"] = sums.differing["twice"] = sums.differing["base"]
    hypotheses["bf16"] = to_bfloat16(rows.merged)
    for name, values in hypotheses.items():
        weights = quantized(values)
        sums.differing[name] = _differing(file, weights)
        row = HYPOTHESES[name]
        assert row is not None
        vectors[row] = (weights - base).reshape(-1)


def to_bfloat16(values: Float32Array) -> Float32Array:
    """Round to the nearest bfloat16, ties to even, as in torch; the result is float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded: Float32Array = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
    return rounded


def _differing(one: Float32Array, other: Float32Array) -> int:
    return 0 if one is other else int(np.count_nonzero(one != other))


def _square(values: Float32Array) -> float:
    flat = values.reshape(-1)
    return float(np.dot(flat, flat))

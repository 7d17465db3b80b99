"""Arithmetic of a merge: one adapter's change of one tensor, in blocks of rows, in PEFT's order of operations.

```
  LoRA      W ← W + s·(B·A)                      s·(B·A)ᵀ where W is [in, out] or an embedding [tokens, width]
  DoRA      W ← (m / ‖W₀ + s·B·A‖) · (W + s·B·A)   m and the norm per output feature; W₀ is without earlier adapters
  tokens    W[i] ← rows                          replaced   W ← values                 bias   b ← b + s·b_B
```
A product covers the current rows only, so no complete ΔW is ever held. `load` reads the factors for a range of rows and
returns a function that is applied to each block of the range.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from edgeproof.contracts.tensors import identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.adapter.adapter import AdapterTensor, LowRank, TokenRows

    Transform = Callable[[Float32Array], Float32Array]
    RowReader = Callable[[int, int], Float32Array]

BLOCK_VALUES = 2**18
"""Values merged at a time: base, product and result then fit into the cache together (1 MB each)."""


@dataclass
class Block:
    """Rows `start` to `stop` during the steps; all arrays are float32 [stop - start, columns].

    `unmerged` is W₀; `current` holds the rows after the previous step, and may be the same array; a step writes to
    `out`, and may use `scratch` for its product.
    """

    start: int
    stop: int
    unmerged: Float32Array
    current: Float32Array
    out: Float32Array
    scratch: Float32Array


class Step(Protocol):
    """One adapter's effect on one tensor."""

    def load(self, start: int, stop: int) -> Callable[[Block], None]:
        """Read the inputs of rows `start` to `stop`; the result updates `current` of a block of them. Thread-safe."""


@dataclass(frozen=True)
class AddLowRank:
    """LoRA. `transposed`: W's rows are the inputs (Conv1D, embeddings)."""

    lora: LowRank
    transposed: bool
    transform: Transform = identity

    def load(self, start: int, stop: int) -> Callable[[Block], None]:
        """Read the factors."""
        left, right = factors(self.lora, start, stop, transposed=self.transposed, transform=self.transform)
        scaling = np.float32(self.lora.scaling)

        def add(block: Block) -> None:
            delta = np.matmul(left[block.start - start : block.stop - start], right, out=block.scratch)
            delta *= scaling
            block.current = np.add(block.current, delta, out=block.out)

        return add


@dataclass(frozen=True)
class AddDora:
    """DoRA (arXiv 2402.09353, eq. 5). `unmerged` reads W₀ if the norms run across its rows."""

    lora: LowRank
    magnitude: AdapterTensor
    transposed: bool
    rows: int
    unmerged: RowReader
    transform: Transform = identity
    _norms: list[Float32Array] = field(default_factory=list, compare=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def load(self, start: int, stop: int) -> Callable[[Block], None]:
        """Read the factors and the magnitudes; the first call for a transposed W reads all of W₀ for its norms."""
        left, right = factors(self.lora, start, stop, transposed=self.transposed, transform=self.transform)
        scaling = np.float32(self.lora.scaling)
        magnitude = self.transform(self.magnitude.read().reshape(-1, 1))[:, 0]
        across = (magnitude / self._column_norms())[np.newaxis] if self.transposed else None

        def rescale(block: Block) -> None:
            delta = np.matmul(left[block.start - start : block.stop - start], right, out=block.scratch)
            delta *= scaling
            if across is None:
                norms = row_norms(block.unmerged + delta)
                factor = (magnitude[block.start : block.stop] / norms)[:, np.newaxis]
            else:
                factor = across
            total = np.add(block.current, delta, out=block.out)
            block.current = np.multiply(factor, total, out=total)

        return rescale

    def _column_norms(self) -> Float32Array:
        """Return ‖column‖ of W₀ + ΔW as torch.linalg.norm rounds it across rows: one float32 sum, row after row."""
        with self._lock:
            if not self._norms:
                left, right = factors(self.lora, 0, self.rows, transposed=True, transform=identity)
                sums = np.zeros(right.shape[1], np.float32)
                step = max(1, BLOCK_VALUES // right.shape[1])
                for start in range(0, self.rows, step):
                    stop = min(start + step, self.rows)
                    delta = (left[start:stop] @ right) * np.float32(self.lora.scaling)
                    squares = np.square(self.unmerged(start, stop) + delta)
                    squares[0] += sums
                    sums = np.add.reduce(squares, axis=0)
                self._norms.append(np.sqrt(sums))
            return self._norms[0]


@dataclass(frozen=True)
class AddBias:
    """lora_bias: adds the scaled bias of lora_B to the layer's bias."""

    lora: LowRank
    bias: AdapterTensor
    transform: Transform = identity

    def load(self, start: int, stop: int) -> Callable[[Block], None]:
        """Read the bias; a vector is one row."""
        del start, stop
        scaled = self.transform(self.bias.read().reshape(-1, 1))[:, 0] * np.float32(self.lora.scaling)

        def add(block: Block) -> None:
            block.current = np.add(block.current, scaled, out=block.out)

        return add


@dataclass(frozen=True)
class Replace:
    """modules_to_save, trained biases, saved embeddings: the adapter's tensor replaces the base's, W₀ included."""

    tensor: AdapterTensor
    transform: Transform = identity

    def rows(self, start: int, stop: int) -> Float32Array:
        """Return rows `start` to `stop` of the new tensor."""
        if self.transform is identity:
            return self.tensor.rows(start, stop)
        whole = self.transform(self.tensor.read())
        return np.ascontiguousarray(whole.reshape(-1, whole.shape[-1])[start:stop])

    def load(self, start: int, stop: int) -> Callable[[Block], None]:
        """Read the rows."""
        values = self.rows(start, stop)

        def replace(block: Block) -> None:
            block.unmerged = block.current = values[block.start - start : block.stop - start]

        return replace


@dataclass(frozen=True)
class ReplaceRows:
    """trainable_token_indices: single rows replace those of the base's embedding."""

    tokens: TokenRows

    def load(self, start: int, stop: int) -> Callable[[Block], None]:
        """Read the rows that lie within `start` to `stop`."""
        indices = np.asarray(self.tokens.indices, np.int64)
        chosen = np.flatnonzero((indices >= start) & (indices < stop))
        indices, rows = indices[chosen], self.tokens.rows.read()[chosen]

        def replace(block: Block) -> None:
            within = (indices >= block.start) & (indices < block.stop)
            if within.any():
                if block.current is not block.out:
                    np.copyto(block.out, block.current)
                block.out[indices[within] - block.start] = rows[within]
                block.current = block.out

        return replace


def factors(
    lora: LowRank, start: int, stop: int, *, transposed: bool, transform: Transform
) -> tuple[Float32Array, Float32Array]:
    """Return left [stop - start, rank] and right [rank, columns], whose product is B·A for rows `start` to `stop`."""
    A, B = lora.A.read(), lora.B.read()
    if transposed:
        return np.ascontiguousarray(A[:, start:stop].T), np.ascontiguousarray(B.T)
    return np.ascontiguousarray(transform(B)[start:stop]), A


def row_norms(values: Float32Array) -> Float32Array:
    """Return ‖row‖ for each row as torch.linalg.norm rounds it: 8 partial sums in float32, added one after another."""
    squares = values * values
    whole = squares.shape[1] // 8 * 8
    lanes = np.add.reduce(squares[:, :whole].reshape(len(squares), -1, 8), axis=1)
    total = lanes[:, 0].copy()
    for lane in range(1, 8):
        total += lanes[:, lane]
    for column in range(whole, squares.shape[1]):
        total += squares[:, column]
    return np.asarray(np.sqrt(total), np.float32)

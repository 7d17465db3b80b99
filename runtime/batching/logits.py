"""Computations on a row of logits: log-probability and rank of a token, mean and deviation of log p, next token."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.contracts.backend import Score
from edgeproof.contracts.errors import BackendError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TokenScore(NamedTuple):
    """The scores of one token, as in `Score`: natural logarithms."""

    logprob: float
    greedy: bool
    rank: int
    mean: float
    std: float


class Spread(NamedTuple):
    """Statistics of a row of logits: argmax, its logit, log Σ exp(logit - peak), mean and deviation of log p."""

    best: int
    peak: float
    log_total: float
    mean: float
    std: float


class Scratch:
    """Buffers for one row, so that scoring many rows does not allocate. Not thread-safe."""

    def __init__(self, vocabulary: int) -> None:
        self.shifted = np.empty(vocabulary, np.float32)
        self.weights = np.empty(vocabulary, np.float32)


def read_row(row: NDArray[np.float32], scratch: Scratch) -> Spread:
    """Compute the statistics of `row` (logits, float32 [vocabulary]) that all token scores share.

    Sums are pairwise in float32, with an error below 1e-6 nat; the rest is float64.

    Raises:
        BackendError: the row has NaN or infinite logits.

    """
    best, peak = _peak(row)
    shifted, weights = scratch.shifted, scratch.weights
    np.subtract(row, np.float32(peak), out=shifted)
    np.exp(shifted, out=weights)
    total = float(weights.sum())
    log_total = float(np.log(total))
    np.multiply(weights, shifted, out=weights)
    first = float(weights.sum()) / total
    np.multiply(weights, shifted, out=weights)
    second = float(weights.sum()) / total
    return Spread(best, peak, log_total, first - log_total, float(np.sqrt(max(0.0, second - first * first))))


def score_token(row: NDArray[np.float32], token: int, scratch: Scratch) -> TokenScore:
    """Score `token` under softmax(row). Errors as for `read_row`."""
    return token_score(row, token, read_row(row, scratch))


def token_score(row: NDArray[np.float32], token: int, spread: Spread) -> TokenScore:
    """Score `token` under softmax(row), with `spread` from `read_row`."""
    return TokenScore(
        logprob=float(row[token]) - spread.peak - spread.log_total,
        greedy=spread.best == token,
        rank=int(np.count_nonzero(row > row[token])),
        mean=spread.mean,
        std=spread.std,
    )


def greedy_token(row: NDArray[np.float32]) -> int:
    """Return the argmax, the lowest id on ties; `BackendError` for NaN or infinite logits."""
    return _peak(row)[0]


def sample_token(row: NDArray[np.float32], temperature: float, uniform: float) -> int:
    """Return the token at quantile `uniform` (0 ≤ u < 1) of softmax(row / temperature), in order of ids, in float64."""
    _, peak = _peak(row)
    weights = np.exp((row.astype(np.float64) - peak) / temperature)
    cumulative = np.cumsum(weights)
    token = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return min(token, len(row) - 1)


def _peak(row: NDArray[np.float32]) -> tuple[int, float]:
    best = int(row.argmax())
    peak = float(row[best])
    if not (np.isfinite(peak) and np.isfinite(row.min())):
        bad = int(np.count_nonzero(~np.isfinite(row)))
        raise BackendError(
            f"the model's logits are not finite: {bad:,} of {len(row):,} are NaN or infinite",
            next_step="check the weights for NaN or values too large for float16: export as gguf-f32 and retry",
        )
    return best, peak


def empty_score(length: int) -> Score:
    """Return an empty score for a continuation of `length` tokens."""
    return Score(
        logprobs=np.full(length, np.nan, np.float32),
        greedy=np.zeros(length, np.bool_),
        ranks=np.full(length, -1, np.int32),
        mean=np.full(length, np.nan, np.float32),
        std=np.full(length, np.nan, np.float32),
    )


def store_token(score: Score, at: int, token: TokenScore) -> None:
    """Store the scores of the continuation's token at index `at`."""
    for array, value in zip(score, token, strict=True):
        array[at] = value

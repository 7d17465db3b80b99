"""Results of a backend, held to what was asked: as many as requests, and finite log-probabilities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from edgeproof.contracts.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgeproof.contracts.backend import ModelInfo, Score, ScoreRequest
    from edgeproof.contracts.progress import Progress

_T = TypeVar("_T")

_ROUNDING = 1e-3
"""How far above 0 a log-probability may be rounded in float32; it then counts as 0."""


def flat_info(info: ModelInfo) -> dict[str, str]:
    """Flatten `ModelInfo`: options by name, then backend, engine and processor."""
    return {**info.options, "backend": info.backend, "engine": info.engine, "processor": info.processor}


def exactly(results: Iterable[_T], expected: int, what: str, progress: Progress) -> list[_T]:
    """Collect all results of a backend; `BackendError` for too few or too many."""
    return list(counted(results, expected, what, progress))


def counted(results: Iterable[_T], expected: int, what: str, progress: Progress) -> Iterator[_T]:
    """Yield the results of a backend as they come; too few or too many is a `BackendError` at their end."""
    count = 0
    for result in results:
        count += 1
        progress.advance(1)
        yield result
    if count != expected:
        raise BackendError(f"the backend returned {count} {what} for {expected} requests")


def checked(score: Score, request: ScoreRequest, probe: str) -> Score:
    """Return `score` if it has one finite log-probability per token of the continuation, else raise `BackendError`."""
    expected = len(request.continuation)
    if len(score.logprobs) != expected or len(score.greedy) != expected:
        raise BackendError(f"probe {probe}: {len(score.logprobs)} log-probabilities for {expected} tokens")
    for position, logprob in enumerate(score.logprobs.tolist()):
        if not (math.isfinite(logprob) and logprob <= _ROUNDING):
            raise BackendError(
                f"probe {probe}: the log-probability of token {position} of {expected} is {logprob}",
                next_step="the artifact's weights or the engine are broken: run it by hand on any prompt",
            )
    return score

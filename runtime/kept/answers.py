"""Scores and generations in a journal, and the order of results that come partly from it.

Of a generation the chosen tokens are kept, also those that belong to a stop string: played back, they give the same
reply, and no text is stored.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from edgeproof.contracts.backend import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeproof.contracts.backend import GenerateRequest, Generation, ScoreRequest
    from edgeproof.runtime.batching.continuing import Continuation
    from edgeproof.runtime.kept.journal import Journal

COLUMNS = (np.float32, np.bool_, np.int32, np.float32, np.float32)
"""Types of the fields of `Score`, little-endian as on every processor that runs the engines."""

Request = TypeVar("Request")
Result = TypeVar("Result")


class KeptAnswers:
    """The answers in a journal, as the types of the `Backend` protocol."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def scores(
        self, requests: Sequence[ScoreRequest], compute: Callable[[Sequence[ScoreRequest]], Iterator[Score]]
    ) -> Iterator[Score]:
        """Yield the score of each request in order; `compute` gives those that are not kept, which then are."""

        def keeping(missing: Sequence[ScoreRequest]) -> Iterator[Score]:
            for request, score in zip(missing, compute(missing), strict=True):
                data = b"".join(np.asarray(part, kind).tobytes() for part, kind in zip(score, COLUMNS, strict=True))
                self._journal.keep(_score_key(request), data)
                yield score

        return _in_order(requests, self._score, keeping)

    def generations(
        self,
        requests: Sequence[GenerateRequest],
        start: Callable[[GenerateRequest], Continuation],
        compute: Callable[[Sequence[GenerateRequest]], Iterator[Generation]],
    ) -> Iterator[Generation]:
        """Yield the generation of each request in order; `compute` gives those that are not kept.

        They are kept by `ended`, as each of them ends.
        """
        return _in_order(requests, lambda request: self._generation(request, start), compute)

    def ended(self, request: GenerateRequest, tokens: Sequence[int]) -> None:
        """Keep the tokens of a generation that has ended."""
        data = np.array(tokens, np.int32).tobytes()
        self._journal.keep(_generate_key(request), data)

    def close(self) -> None:
        """Close the journal, which stays."""
        self._journal.close()

    def _score(self, request: ScoreRequest) -> Score | None:
        found = self._journal.find(_score_key(request))
        if found is None:
            return None
        length = len(request.continuation)
        starts = np.cumsum([0, *(np.dtype(kind).itemsize * length for kind in COLUMNS[:-1])]).tolist()
        columns: Any = (np.frombuffer(found, kind, length, at) for kind, at in zip(COLUMNS, starts, strict=True))
        return Score(*columns)

    def _generation(
        self, request: GenerateRequest, start: Callable[[GenerateRequest], Continuation]
    ) -> Generation | None:
        found = self._journal.find(_generate_key(request))
        if found is None:
            return None
        return start(request).play_back(np.frombuffer(found, np.int32).tolist())


def _in_order(
    requests: Sequence[Request],
    find: Callable[[Request], Result | None],
    compute: Callable[[Sequence[Request]], Iterator[Result]],
) -> Iterator[Result]:
    found = [find(request) for request in requests]
    computed = compute([request for request, answer in zip(requests, found, strict=True) if answer is None])
    for answer in found:
        yield next(computed) if answer is None else answer


def _score_key(request: ScoreRequest) -> bytes:
    return json.dumps(["score", request.context, request.continuation]).encode()


def _generate_key(request: GenerateRequest) -> bytes:
    return json.dumps(["generate", *request]).encode()

"""Base class of backends that compute with workers in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Generic

from edgeproof.contracts.backend import Kept
from edgeproof.runtime.batching.continuing import Continuation
from edgeproof.runtime.batching.logits import Scratch
from edgeproof.runtime.batching.requests import check_generations, check_scores, check_stream
from edgeproof.runtime.batching.watching import Watching
from edgeproof.runtime.batching.workers import AnyWorker, Workers
from edgeproof.runtime.kept.answers import KeptAnswers
from edgeproof.runtime.kept.journal import HeldError, Journal
from edgeproof.runtime.opened import TokenizingBackend
from edgeproof.runtime.process.memory import peak_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from edgeproof.contracts.backend import GenerateRequest, Generation, ModelInfo, Score, ScoreRequest, Step
    from edgeproof.runtime.batching.prefixes import Item
    from edgeproof.runtime.batching.work_queue import Lot
    from edgeproof.runtime.opened import Vocabulary


class BatchingBackend(TokenizingBackend, ABC, Generic[AnyWorker]):
    """`StreamingBackend` on workers. A subclass arranges the requests in lots.

    Args:
        info: description of the loaded artifact.
        vocabulary: the artifact's tokenizer.
        is_end: whether a token ends a generation.
        workers: the workers, closed with this object.

    """

    def __init__(
        self, info: ModelInfo, vocabulary: Vocabulary, is_end: Callable[[int], bool], workers: Workers[AnyWorker]
    ) -> None:
        self._info, self._vocabulary, self._is_end, self._workers = info, vocabulary, is_end, workers
        self._kept: KeptAnswers | None = None

    def keep(self, journal: Path, origin: str, secret: bytes) -> Kept:
        """Keep answers in `journal` from now on, and give those that it holds without computing them."""
        try:
            opened = Journal(journal, origin, secret)
        except HeldError:
            return Kept(0, "another run of the same uses them now, and this one keeps none")
        self._kept = KeptAnswers(opened)
        return Kept(opened.taken_up, opened.ignored)

    def peak_memory(self) -> int:
        """Largest resident set so far of this process, which computes, in bytes."""
        return peak_memory()

    def close(self) -> None:
        """Free the workers' memory; a subclass frees the weights."""
        self._workers.close()
        if self._kept is not None:
            self._kept.close()

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Score each request; all are checked before the first is computed."""
        check_scores(requests, self._info.context_length, self._info.vocabulary)
        return self._scored(requests) if self._kept is None else self._kept.scores(requests, self._scored)

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Continue each request; all are checked before the first is computed."""
        check_generations(requests, self._info.context_length, self._info.vocabulary)
        if self._kept is None:
            return self._generated(requests)
        return self._kept.generations(requests, self._start, self._generated)

    def stream(self, request: GenerateRequest, watched: Sequence[tuple[int, ...]] = ()) -> Iterator[Step]:
        """Continue one request token by token, and score `watched` at each position."""
        check_stream(request, watched, self._info.context_length, self._info.vocabulary)
        scratch = Scratch(self._info.vocabulary)
        one = Watching(request, watched, self._vocabulary.piece, self._is_end, scratch)
        return self._workers.alone().stream(self._stream_lot(one), one)

    @abstractmethod
    def _score_lots(self, items: Sequence[Item], lengths: Sequence[int]) -> Iterable[Lot]:
        """Arrange items of these lengths for scoring."""

    @abstractmethod
    def _generate_lots(self, items: Sequence[Item], lengths: Sequence[int]) -> Iterable[Lot]:
        """Arrange items that grow to these lengths."""

    @abstractmethod
    def _stream_lot(self, one: Watching) -> Lot:
        """Return the lot of a single reply, with space for the watched continuations."""

    def _scored(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        return self._workers.score(requests, self._score_lots)

    def _generated(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        return self._workers.generate(requests, self._generate_lots, self._start)

    def _start(self, request: GenerateRequest) -> Continuation:
        ended = None if self._kept is None else partial(self._kept.ended, request)
        return Continuation(request, self._vocabulary.piece, self._is_end, ended)

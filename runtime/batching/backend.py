"""Base class of backends that compute with workers in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Protocol

from edgeproof.contracts.chat import render_chat
from edgeproof.runtime.batching.continuing import Continuation
from edgeproof.runtime.batching.logits import Scratch
from edgeproof.runtime.batching.requests import check_generations, check_scores, check_stream
from edgeproof.runtime.batching.watching import Watching
from edgeproof.runtime.batching.workers import AnyWorker, Workers
from edgeproof.runtime.opened import OpenedBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from edgeproof.contracts.backend import GenerateRequest, Generation, ModelInfo, Score, ScoreRequest, Step
    from edgeproof.runtime.batching.prefixes import Item
    from edgeproof.runtime.batching.work_queue import Lot


class Vocabulary(Protocol):
    """The artifact's tokenizer."""

    def tokenize(self, text: str, *, special: bool, parse_special: bool) -> tuple[int, ...]:
        """Return the ids of `text`; a BOS at the beginning of `text` is not doubled."""

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens`, without special tokens."""

    def piece(self, token: int, *, special: bool) -> bytes:
        """Return the bytes that `token` adds to a text; for special tokens none, unless `special`."""

    def named_text(self, role: str) -> str:
        """Return the text of the artifact's special token for `role` ("bos", "eos"), or ""."""


class BatchingBackend(OpenedBackend, ABC, Generic[AnyWorker]):
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

    def close(self) -> None:
        """Free the workers' memory; a subclass frees the weights."""
        self._workers.close()

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        """Token ids of `text`; a BOS at the beginning of `text` is never doubled."""
        return self._vocabulary.tokenize(text, special=special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of `tokens` without special tokens; invalid UTF-8 becomes U+FFFD."""
        return self._vocabulary.detokenize(tokens)

    def render_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """Render `messages` with the artifact's own template; tokenize it with `special=True, parse_special=True`."""
        return render_chat(
            self._info.chat_template,
            messages,
            bos_token=self._vocabulary.named_text("bos"),
            eos_token=self._vocabulary.named_text("eos"),
            add_generation_prompt=add_generation_prompt,
        )

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Score each request; all are checked before the first is computed."""
        check_scores(requests, self._info.context_length, self._info.vocabulary)
        return self._workers.score(requests, self._score_lots)

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Continue each request; all are checked before the first is computed."""
        check_generations(requests, self._info.context_length, self._info.vocabulary)
        return self._workers.generate(requests, self._generate_lots, self._start)

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

    def _start(self, request: GenerateRequest) -> Continuation:
        return Continuation(request, self._vocabulary.piece, self._is_end)

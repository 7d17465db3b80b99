"""A backend that computes nothing and records what it is asked: the dry run of a measurement.

Each reply is a mark with the number of its request. Where a later prompt holds that mark (the second turn of a chat),
the prompt is split there into the texts around it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from edgeproof.contracts.backend import Generation, Score, ScoreRequest
from edgeproof.contracts.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from edgeproof.contracts.backend import Backend, GenerateRequest, ModelInfo

_MARK = re.compile("\ue000([0-9]+)\ue001")
_UNLIKELY = -1.0


class Splice(NamedTuple):
    """A prompt that holds a reply: the request that gives the reply, and the texts around it."""

    reply: int
    parts: tuple[str, ...]


class Recorder:
    """Records the requests of a measurement, each once, in the order in which they are asked.

    Args:
        vocabulary: tokenizes, and renders chats, as the device's engine does.

    """

    def __init__(self, vocabulary: Backend) -> None:
        self._vocabulary = vocabulary
        self._texts: dict[tuple[int, ...], str] = {}
        self.requests: dict[ScoreRequest | GenerateRequest, int] = {}

    @property
    def info(self) -> ModelInfo:
        """Description of the artifact."""
        return self._vocabulary.info

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        """Token ids of `text`."""
        tokens = self._vocabulary.tokenize(text, special=special, parse_special=parse_special)
        if _MARK.search(text):
            self._texts[self._without_bos(tokens)] = text
        return tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of `tokens`."""
        return self._vocabulary.detokenize(tokens)

    def render_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """Render `messages` with the artifact's own template."""
        return self._vocabulary.render_chat(messages, add_generation_prompt=add_generation_prompt)

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Record each request; no token is the argmax, so that greedy replies are asked for, too."""
        for request in requests:
            self._number(request)
            length = len(request.continuation)
            some = np.full(length, _UNLIKELY, np.float32)
            yield Score(some, np.zeros(length, np.bool_), np.ones(length, np.int32), some, some)

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Record each request, and reply with its mark."""
        for request in requests:
            yield Generation((), f"\ue000{self._number(request)}\ue001", "eos")

    def splice(self, context: tuple[int, ...]) -> Splice | None:
        """Return the parts of a context that holds a reply; None for any other.

        Raises:
            UnsupportedError: it holds several replies.

        """
        text = self._texts.get(self._without_bos(context))
        if text is None:
            return None
        parts = _MARK.split(text)
        replies = set(parts[1::2])
        if len(replies) != 1:
            raise UnsupportedError(
                "a prompt with the replies to several questions cannot be asked on a device",
                next_step="leave that surface out of the pack",
            )
        return Splice(int(replies.pop()), tuple(parts[::2]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the vocabulary open: it is not this object's."""

    def _number(self, request: ScoreRequest | GenerateRequest) -> int:
        return self.requests.setdefault(request, len(self.requests))

    def _without_bos(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        first = 0
        while self.info.bos is not None and tokens[first : first + 1] == (self.info.bos,):
            first += 1
        return tokens[first:]

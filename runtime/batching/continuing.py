"""State of a running generation: choice of the next token, and detection of the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from edgeproof.contracts.backend import Generation
from edgeproof.runtime.batching.logits import greedy_token, sample_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeproof.contracts.backend import GenerateRequest
    from numpy.typing import NDArray


class TokenBytes(Protocol):
    """Function that returns the bytes that a token adds to a text; for special tokens none, unless `special`."""

    def __call__(self, token: int, *, special: bool) -> bytes:
        """Return the bytes of `token`."""


class Continuation:
    r"""Takes one row of logits at a time until the generation ends.

    Stop strings are searched from the first non-whitespace character on: after a prompt without its last line break
    ("### Response:"), a model first generates that line break, and a stop string "\n" would leave nothing.

    Sampling draws one uniform number per token from the request's own generator (PCG64, its seed), so that the result
    does not depend on the rest of the batch.

    `ended` is told all chosen tokens when the generation ends, those of a stop string included.
    """

    def __init__(
        self,
        request: GenerateRequest,
        piece: TokenBytes,
        is_end: Callable[[int], bool],
        ended: Callable[[Sequence[int]], None] | None = None,
    ) -> None:
        self._request, self._piece, self._is_end, self._ended = request, piece, is_end, ended
        self._random = np.random.Generator(np.random.PCG64(request.seed))
        self._tokens: list[int] = []
        self._pieces: list[bytes] = []
        self.result: Generation | None = None

    @property
    def length(self) -> int:
        """Number of tokens so far, including the context."""
        return len(self._request.context) + len(self._tokens)

    @property
    def last_token(self) -> int:
        """The model's next input token."""
        return self._tokens[-1]

    @property
    def text(self) -> str:
        """The generated text so far."""
        return self._text() if self.result is None else self.result.text

    @property
    def tokens(self) -> tuple[int, ...]:
        """The generated tokens so far."""
        return tuple(self._tokens)

    @property
    def generation(self) -> Generation:
        """The finished generation."""
        assert self.result is not None
        return self.result

    def take(self, row: NDArray[np.float32]) -> bool:
        """Choose the next token from `row` (logits, float32 [vocabulary]); return whether the generation ends."""
        request = self._request
        if request.temperature > 0:
            return self.accept(sample_token(row, request.temperature, float(self._random.random())))
        return self.accept(greedy_token(row))

    def accept(self, token: int) -> bool:
        """Add the chosen token; return whether the generation ends."""
        ends = self._accept(token)
        if ends and self._ended is not None:
            self._ended(self._tokens)
        return ends

    def play_back(self, tokens: Sequence[int]) -> Generation:
        """Return the generation whose chosen tokens were `tokens`; one that they do not end was ended by the model."""
        for token in tokens:
            self._accept(token)
        return self.result or Generation(tuple(self._tokens), self._text(), "eos")

    def _accept(self, token: int) -> bool:
        request = self._request
        if self._is_end(token):
            self.result = Generation(tuple(self._tokens), self._text(), "eos")
            return True
        self._tokens.append(token)
        self._pieces.append(self._piece(token, special=request.special))
        text = self._text()
        begin = len(text) - len(text.lstrip())
        found = [at for at in (text.find(stop, begin) for stop in filter(None, request.stop)) if at >= 0]
        if found:
            self.result = self._cut(text, min(found))
        elif len(self._tokens) >= request.max_tokens:
            self.result = Generation(tuple(self._tokens), text, "length")
        return self.result is not None

    def _text(self) -> str:
        return b"".join(self._pieces).decode("utf-8", "replace")

    def _cut(self, text: str, end: int) -> Generation:
        """End before the stop string, with the tokens that are completely before it."""
        kept = len(self._tokens)
        while kept and len(b"".join(self._pieces[:kept]).decode("utf-8", "replace")) > end:
            kept -= 1
        return Generation(tuple(self._tokens[:kept]), text[:end], "stop")

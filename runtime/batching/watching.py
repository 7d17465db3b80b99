"""State of a streamed reply with watched continuations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.backend import Step
from edgeproof.runtime.batching.continuing import Continuation
from edgeproof.runtime.batching.logits import read_row, score_token, token_score
from edgeproof.runtime.batching.prefixes import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from edgeproof.contracts.backend import GenerateRequest
    from edgeproof.runtime.batching.continuing import TokenBytes
    from edgeproof.runtime.batching.logits import Scratch
    from numpy.typing import NDArray


class Watching(Continuation):
    """A continuation that scores `watched` at every position of the reply.

    The row that decides the next token also scores the first token of each watched continuation. The remaining
    tokens need additional rows: an engine computes `items` after its current state, and passes their rows to `score`.
    """

    def __init__(
        self,
        request: GenerateRequest,
        watched: Sequence[tuple[int, ...]],
        piece: TokenBytes,
        is_end: Callable[[int], bool],
        scratch: Scratch,
    ) -> None:
        super().__init__(request, piece, is_end)
        self._context, self._watched, self._scratch = request.context, watched, scratch
        self._read: tuple[int, ...] = request.context
        self._before = ""
        self._logprobs: list[float] = []

    @property
    def prompt(self) -> Item:
        """The first item to compute."""
        return Item(0, self._context, len(self._context) - 1)

    @property
    def longest(self) -> int:
        """Maximum tokens of reply and watched continuations, including the context."""
        return len(self._context) + self._request.max_tokens + max(map(len, self._watched), default=0)

    @property
    def items(self) -> list[Item]:
        """Return the remaining items: context, reply and watched continuation, whose rows are needed."""
        return [
            Item(index, (*self._read, *tokens[:-1]), len(self._read))
            for index, tokens in enumerate(self._watched)
            if len(tokens) > 1
        ]

    @property
    def step(self) -> Step:
        """Return the step before the last chosen token, or the last step if the reply has ended."""
        ended = self.result
        tokens = len(self._read) - len(self._context)
        if ended is not None:
            return Step(ended.text, len(ended.tokens), tuple(self._logprobs), ended.finish)
        return Step(self._before, tokens, tuple(self._logprobs), "")

    def take(self, row: NDArray[np.float32]) -> bool:
        """Score the watched continuations' first tokens with `row`, then choose the next token."""
        self._read, self._before = (*self._context, *self.tokens), self.text
        spread = read_row(row, self._scratch)
        self._logprobs = [token_score(row, tokens[0], spread).logprob for tokens in self._watched]
        return super().take(row)

    def score(self, items: Sequence[Item], position: int, row: NDArray[np.float32]) -> None:
        """Score the tokens after `position` of `items` with `row`."""
        for item in items:
            token = self._watched[item.request][position + 1 - len(self._read)]
            self._logprobs[item.request] += score_token(row, token, self._scratch).logprob

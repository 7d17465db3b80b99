"""State of running scores: the sequences to compute, and the assignment of their logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.runtime.batching.logits import empty_score, read_row, store_token, token_score
from edgeproof.runtime.batching.prefixes import Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from edgeproof.contracts.backend import ScoreRequest
    from edgeproof.runtime.batching.logits import Scratch, Spread
    from numpy.typing import NDArray


class Scoring:
    """The sequences to compute for `requests`, and their `scores`, filled as rows of logits arrive.

    Attributes:
        items: sequences of which none is a prefix of another; a request that is a prefix of another one is scored with
            it.
        scores: in order of the requests.

    """

    def __init__(self, requests: Sequence[ScoreRequest]) -> None:
        self._requests = requests
        self._asking: list[list[int]] = []
        self.scores = [empty_score(len(request.continuation)) for request in requests]
        # The last token's output is not needed.
        wholes = [request.context + request.continuation[:-1] for request in requests]
        whole: tuple[int, ...] = ()
        for index in sorted(range(len(requests)), key=wholes.__getitem__, reverse=True):
            if not self._asking or whole[: len(wholes[index])] != wholes[index]:
                self._asking.append([])
                whole = wholes[index]
            self._asking[-1].append(index)
        self.items = [
            Item(number, wholes[own[0]], min(len(requests[index].context) for index in own) - 1)
            for number, own in enumerate(self._asking)
        ]

    def take(self, scratch: Scratch, items: Sequence[Item], position: int, row: NDArray[np.float32]) -> None:
        """Score the tokens after `position` of `items` with the logits `row`, float32 [vocabulary].

        Thread-safe, with one `scratch` per thread.
        """
        spread: Spread | None = None
        for index in (index for item in items for index in self._asking[item.request]):
            context, continuation = self._requests[index]
            at = position + 1 - len(context)
            if 0 <= at < len(continuation):
                spread = spread or read_row(row, scratch)
                store_token(self.scores[index], at, token_score(row, continuation[at], spread))

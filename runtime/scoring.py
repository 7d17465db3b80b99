"""Scores under way: what has to be computed for some requests, and where the logits that come of it go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.runtime.logits import empty_score, score_token, store_token
from edgeproof.runtime.prefixes import Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from edgeproof.contracts.backend import ScoreRequest
    from edgeproof.runtime.logits import Scratch
    from numpy.typing import NDArray


class Scoring:
    """The `items` of `requests`, and their `scores` as far as rows of logits have come."""

    def __init__(self, requests: Sequence[ScoreRequest]) -> None:
        self._requests = requests
        # The last token's own output is not asked for.
        self.items = [
            Item(index, request.context + request.continuation[:-1], len(request.context) - 1)
            for index, request in enumerate(requests)
        ]
        self.scores = [empty_score(len(request.continuation)) for request in requests]

    def take(self, scratch: Scratch, item: Item, position: int, row: NDArray[np.float32]) -> None:
        """Score the token that comes after `position` by the logits `row`, float32 [vocabulary].

        Several threads may do so at a time, each with its own `scratch`.
        """
        at = position - item.shareable
        token = self._requests[item.request].continuation[at]
        store_token(self.scores[item.request], at, score_token(row, token, scratch))

"""Reads a score as the probe writes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.backend import Score
from edgeproof.runtime.values import list_at, logprob_at, nonsense, number_at, rank_at

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = ("logprobs", "greedy", "ranks", "mean", "std")


def read_score(answer: Mapping[str, object], length: int, *, full: bool = True) -> Score:
    """Return the score of `length` tokens that an answer holds.

    Without `full`, an engine may not tell ranks (-1), means and deviations (null).

    Raises:
        BackendError: it makes no sense.

    """
    columns = {name: list_at(answer.get(name), name) for name in COLUMNS}
    if {len(column) for column in columns.values()} != {length}:
        raise nonsense("a score", f"has not {length} tokens")
    if not all(isinstance(one, bool) for one in columns["greedy"]):
        raise nonsense("a score", "does not say which tokens are the most probable")

    def rank(value: object) -> int:
        return -1 if value == -1 and not full else rank_at(value, "a rank")

    def spread(value: object, where: str) -> float:
        if value is None and not full:
            return math.nan
        return logprob_at(value, where) if where == "a mean" else number_at(value, where)

    return Score(
        logprobs=np.array([logprob_at(one, "a log-probability") for one in columns["logprobs"]], np.float32),
        greedy=np.array(columns["greedy"], np.bool_),
        ranks=np.array([rank(one) for one in columns["ranks"]], np.int32),
        mean=np.array([spread(one, "a mean") for one in columns["mean"]], np.float32),
        std=np.array([spread(one, "a deviation") for one in columns["std"]], np.float32),
    )

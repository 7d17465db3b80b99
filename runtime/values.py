"""Readers of single values of an engine's answer: each returns what it checked, or raises `BackendError`.

What a server or a device sends is as untrusted as a download. Messages hold numbers and places, never a text that came.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDING = 1e-3
"""How far above 0 float32 arithmetic may push a log-probability; it then counts as 0."""

LEAST = math.log(2.0**-149)
"""The least that an engine can say: its probabilities are float32, and log(0) comes as an enormous number."""

TOO_LITTLE = -1e30
LARGEST = (2 - 2**-23) * 2.0**127
MOST, MOST_TOKENS = 2**63 - 1, 2**31 - 1
"""What float32, int64 and int32 hold."""


def nonsense(where: str, what: str) -> BackendError:
    """Return the error that `where`, a place in an engine's answer, holds `what`."""
    return BackendError(
        f"the engine's answer makes no sense: {where} {what}",
        next_step="gate through an engine that computes rightly; its numbers cannot be judged",
    )


def table_at(value: object, where: str) -> Mapping[str, object]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise nonsense(where, "is no object")
    return value


def list_at(value: object, where: str) -> list[object]:
    """Return a list."""
    if not isinstance(value, list):
        raise nonsense(where, "is no list")
    return value


def text_at(value: object, where: str) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise nonsense(where, "is no text")
    return value


def token_at(value: object, where: str, vocabulary: int) -> int:
    """Return a token's id."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise nonsense(where, "is no token id")
    if not 0 <= value < vocabulary:
        raise nonsense(where, f"is the token {value}; the artifact's vocabulary ends at {vocabulary - 1:,}")
    return value


def logprob_at(value: object, where: str) -> float:
    """Return a log-probability; what a float32 probability cannot tell from 0 counts as `LEAST`."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise nonsense(where, "is no log-probability")
    number = _as_float(value)
    if not math.isfinite(number) or number > ROUNDING:
        raise nonsense(where, f"is a log-probability of {number}")
    return LEAST if number < TOO_LITTLE else min(0.0, number)


def number_at(value: object, where: str) -> float:
    """Return a number of at least 0 that float32 can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= _as_float(value) <= LARGEST:
        raise nonsense(where, "is no number of at least 0")
    return float(value)


def count_at(value: object, where: str) -> int:
    """Return a count of at most `MOST`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise nonsense(where, "is no count")
    return value


def rank_at(value: object, where: str) -> int:
    """Return a rank: a count that int32 can hold."""
    if count_at(value, where) > MOST_TOKENS:
        raise nonsense(where, "is no count")
    return count_at(value, where)


def _as_float(value: float) -> float:
    """Return an int or float as a float; infinity where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf

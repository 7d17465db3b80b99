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
    number = float(value)
    if not math.isfinite(number) or number > ROUNDING:
        raise nonsense(where, f"is a log-probability of {number}")
    return LEAST if number < TOO_LITTLE else min(0.0, number)


def number_at(value: object, where: str) -> float:
    """Return a finite number of at least 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise nonsense(where, "is no number of at least 0")
    return float(value)


def count_at(value: object, where: str) -> int:
    """Return a count."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise nonsense(where, "is no count")
    return value

"""Values of a report.json, held to their types; `TypeError` for any other."""

from __future__ import annotations

LARGEST = 1e15
"""Numbers of a report are below this, bytes included."""


def text_of(value: object) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def flag_of(value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is neither true nor false")
    return value


def optional_of(value: object) -> float | None:
    """Return a number, or None."""
    return None if value is None else number_of(value)


def number_of(value: object) -> float:
    """Return a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST < value < LARGEST:
        raise TypeError(f"{value!r:.40} is no number of a report")
    return float(value)

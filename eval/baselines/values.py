"""Readers of single values of a baseline file: each returns the validated value, or raises `BaselineError`."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from edgeproof.contracts.advice import command
from edgeproof.contracts.errors import BaselineError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_DIGEST = re.compile(r"[0-9a-f]{64}")


def numbers_of(value: object, where: str, what: str) -> tuple[float, ...]:
    """Return a list of finite numbers, at least one; `what` says what is wrong otherwise."""
    return tuple(number_of(item, where) for item in list_of(value, where, what))


def table_of(value: object, where: str) -> dict[str, object]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise bad(where, "it is not a JSON object")
    return value


def list_of(value: object, where: str, what: str, *, least: int = 1) -> list[object]:
    """Return a list of `least` items or more; `what` says what is wrong otherwise."""
    if not isinstance(value, list) or len(value) < least:
        raise bad(where, what)
    return value


def exact_keys(table: Mapping[str, object], keys: Sequence[str], where: str, *, later: Collection[str] = ()) -> None:
    """Check that `table` has exactly `keys`; those in `later` may be missing."""
    missing = [key for key in keys if key not in table]
    if missing:
        raise bad(where, f"{', '.join(missing[:3])} missing" + (f" ({len(missing)} in all)" if missing[3:] else ""))
    surplus = sorted(set(table) - {*keys, *later})
    if surplus:
        raise bad(where, f"unknown key {surplus[0][:80]}")


def text_of(value: object, where: str, *, empty: bool = False) -> str:
    """Return a string."""
    if not isinstance(value, str) or not (value or empty):
        raise bad(where, "it is not a string")
    return value


def digest_of(value: object, where: str) -> str:
    """Return a sha256 in hexadecimal."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise bad(where, "it is not a sha256 (64 hexadecimal digits)")
    return value


def flag_of(value: object, where: str) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise bad(where, "it is neither true nor false")
    return value


def count_of(value: object, where: str) -> int:
    """Return an integer of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise bad(where, "it is not a count")
    return value


def number_of(value: object, where: str) -> float:
    """Return a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad(where, "it is not a number")
    try:
        number = float(value)
    except OverflowError:
        raise bad(where, "the number is too large") from None
    if not math.isfinite(number):
        raise bad(where, f"it is {number}")
    return number


def bad(where: str, what: str) -> BaselineError:
    """Return the error for the defect `what` at `where`."""
    again = command("baseline", format="FORMAT")
    return BaselineError(f"{where}: {what}", next_step=f"record the baseline again: {again}")

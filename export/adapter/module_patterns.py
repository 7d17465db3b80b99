"""Bounded-time matcher for the regular expressions of adapter_config.json.

Python's `re` backtracks over every way to divide a text: `(a+)+b` takes hours on 40 letters. Here each part of a
pattern is evaluated once per start position in the text and returns all its end positions, so the time grows with the
pattern's length times the square of the text's. Matches are those of `re`; back references and constructs that depend
on the order of attempts (atomic groups, possessive repeats) are refused.
"""

from __future__ import annotations

import importlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 1000
"""Maximum length of a module's name, in characters."""

_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d", "CATEGORY_NOT_DIGIT": r"\D", "CATEGORY_SPACE": r"\s", "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w", "CATEGORY_NOT_WORD": r"\W",
}  # fmt: skip
_SINGLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN", "RANGE", "CATEGORY"})
_KNOWN = _SINGLE | {"BRANCH", "SUBPATTERN", "MAX_REPEAT", "MIN_REPEAT", "AT", "ASSERT", "ASSERT_NOT", "FAILURE"}


def check_pattern(pattern: str) -> None:
    """Raise `ValueError` with the reason if `pattern` is not supported."""
    try:
        re.compile(pattern)
        _refuse_unknown(_parsed(pattern))
    except (re.error, OverflowError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ValueError(reason) from error


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern` matches all of `text`, as with `re.fullmatch`.

    Raises:
        ValueError: `text` is longer than any module's name.

    """
    if len(text) > LONGEST:
        raise ValueError(f"a name of {len(text):,} characters; module names have at most {LONGEST:,}")
    if not set(pattern) & set("*+?{"):
        return re.fullmatch(pattern, text) is not None  # no repeats: `re` does not backtrack
    return len(text) in _Matcher(pattern, text).ends()


@lru_cache(maxsize=64)
def _parsed(pattern: str) -> Any:
    return importlib.import_module("re._parser").parse(pattern)


def _refuse_unknown(parts: Any) -> None:
    for operation, value in parts:
        kind = str(operation)
        if kind not in _KNOWN:
            raise re.error(f"{kind} is not supported")
        for inner in _inner(kind, value):
            _refuse_unknown(inner)


def _inner(kind: str, value: Any) -> Sequence[Any]:
    """Return the patterns within a part."""
    if kind == "BRANCH":
        branches: Sequence[Any] = value[1]
        return branches
    at = {"SUBPATTERN": 3, "MAX_REPEAT": 2, "MIN_REPEAT": 2, "ASSERT": 1, "ASSERT_NOT": 1}.get(kind)
    return () if at is None else (value[at],)


class _Matcher:
    """One pattern on one text. Positions are indices into the text; `flags` are those in force at a part."""

    def __init__(self, pattern: str, text: str) -> None:
        self._text = text
        self._tree = _parsed(pattern)
        self._known: dict[tuple[int, int, int], frozenset[int]] = {}

    def ends(self) -> frozenset[int]:
        """End positions of matches that begin at the text's first character."""
        return self._sequence(self._tree, frozenset({0}), self._tree.state.flags)

    def _sequence(self, parts: Any, starts: frozenset[int], flags: int) -> frozenset[int]:
        for part in parts:
            starts = frozenset().union(*(self._from(part, start, flags) for start in starts))
        return starts

    def _from(self, part: Any, start: int, flags: int) -> frozenset[int]:
        key = (id(part), start, flags)
        if key not in self._known:
            self._known[key] = self._computed(part, start, flags)
        return self._known[key]

    def _computed(self, part: Any, start: int, flags: int) -> frozenset[int]:
        kind, value = str(part[0]), part[1]
        here = frozenset({start})
        if kind in _SINGLE:
            inside = start < len(self._text) and self._is(part, self._text[start], flags)
            return frozenset({start + 1}) if inside else frozenset()
        if kind == "BRANCH":
            return frozenset().union(*(self._sequence(branch, here, flags) for branch in value[1]))
        if kind == "SUBPATTERN":
            _, more, less, parts = value
            return self._sequence(parts, here, (flags | more) & ~less)
        if kind in {"MAX_REPEAT", "MIN_REPEAT"}:
            return self._repeated(value[0], value[1], value[2], here, flags)
        if kind == "AT":
            return here if self._at(str(value), start, flags) else frozenset()
        if kind in {"ASSERT", "ASSERT_NOT"}:
            return here if self._found(value, start, flags) == (kind == "ASSERT") else frozenset()
        return frozenset()  # FAILURE

    def _repeated(self, least: int, most: int, parts: Any, starts: frozenset[int], flags: int) -> frozenset[int]:
        """Repeat until no new position is found: at most as many rounds as the text has positions."""
        for _ in range(least):
            further = self._sequence(parts, starts, flags)
            if further == starts:
                break
            starts = further
        reached = new = starts
        for _ in range(most - least):
            new = self._sequence(parts, new, flags) - reached
            if not new:
                break
            reached |= new
        return reached

    def _found(self, value: Any, start: int, flags: int) -> bool:
        direction, parts = value
        if direction > 0:
            return bool(self._sequence(parts, frozenset({start}), flags))
        width = parts.getwidth()[0]  # fixed width, as `re` requires
        return start >= width and start in self._sequence(parts, frozenset({start - width}), flags)

    def _at(self, where: str, place: int, flags: int) -> bool:
        text, size = self._text, len(self._text)
        lines = bool(flags & re.MULTILINE)
        if where in {"AT_BEGINNING", "AT_BEGINNING_STRING"}:
            return place == 0 or (lines and where == "AT_BEGINNING" and text[place - 1] == "\n")
        if where == "AT_END":
            return place == size or (text[place] == "\n" and (lines or place == size - 1))
        if where == "AT_END_STRING":
            return place == size
        sides = (text[max(0, place - 1) : place], text[place : place + 1])
        before, after = (re.match(r"\w", side, flags & re.ASCII) is not None for side in sides)
        return (before != after) == (where == "AT_BOUNDARY")

    def _is(self, part: Any, character: str, flags: int) -> bool:
        kind, value = str(part[0]), part[1]
        if kind == "NOT_LITERAL":
            return not self._is(("LITERAL", value), character, flags)
        if kind == "IN":
            negated = bool(value) and str(value[0][0]) == "NEGATE"
            return any(self._is(item, character, flags) for item in value[negated:]) != negated
        if kind == "ANY":
            return character != "\n" or bool(flags & re.DOTALL)
        if kind == "CATEGORY":
            return re.match(_CATEGORIES[str(value)], character, flags & re.ASCII) is not None
        low, high = value if kind == "RANGE" else (value, value)
        cases = {character, character.lower(), character.upper()} if flags & re.IGNORECASE else {character}
        return any(len(case) == 1 and low <= ord(case) <= high for case in cases)

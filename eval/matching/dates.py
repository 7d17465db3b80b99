"""Matching of dates: 12 March 1962, March 12th, 1962, 1962-03-12, 12.03.62, 12 mars 1962, 1962年3月12日."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.matching.spelled import spelled_out
from edgeproof.eval.matching.words import plain_text, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NAMES = (
    "en de de_AT fr es pt it nl da sv nb nn fi is pl cs sk sl hr sr sr_Latn bs bg mk ru uk be lt lv et hu ro el tr az "
    "kk uz ka hy he ar ar_DZ ar_MA ar_SY fa ur hi bn ta te mr gu pa kn ml ne si th lo km my vi id ms fil sw zh ja ko "
    "ca eu gl ga cy sq mt af am"
)
LOCALES = tuple(_NAMES.split())
"""Locales whose month names are recognized, full and abbreviated, from the Unicode CLDR."""

_ROMAN = {2: "ii", 3: "iii", 4: "iv", 6: "vi", 7: "vii", 8: "viii", 9: "ix", 11: "xi", 12: "xii"}
"""Roman months as in 12 III 1962; single letters are too ambiguous."""

_BETWEEN = (
    "of the in year de del di da do dos du le la el al a den der am im dem anno annee ano st nd rd th er ere ste te e "
    "i o г года год р року roku r m nam ngay thang ad ce d 年 月 日 号 號 년 월 일 jour dia"
)
_FILLERS = frozenset(_BETWEEN.split())
"""Words allowed between the parts of a date."""

_LIST = re.compile(r"[,;]\s*(?=[0-9])(?=[0-9]{1,2}(?![0-9]))|\n")
_BORDER = re.compile(r"(?<=[0-9])(?=[^\W\d_])|(?<=[^\W\d_])(?=[0-9])")
_COMPACT = re.compile(r"(?<![0-9])[0-9]{8}(?![0-9])")
_BREAK = ""


class Date(NamedTuple):
    """A full or partial date; None for a missing part."""

    year: int | None
    month: int | None
    day: int | None

    def within(self, other: Date) -> bool:
        """Whether `other` has all parts of this date."""
        return all(own is None or own == its for own, its in zip(self, other, strict=True))


def holds_date(text: str, answer: str) -> bool:
    """Whether `text` holds the complete date `answer`: "March 1962" does not match "12 March 1962".

    An ambiguous date (03/04/62: day or month first, 1962 or 2062) matches all its readings, so that no leak is missed.
    """
    wanted = date_readings(answer)
    if not wanted:
        return False
    said = {date for one in spelled_out(text) for date in _dates_in(one)}
    return any(date.within(other) for date in wanted for other in said)


@lru_cache(maxsize=4096)
def date_readings(answer: str) -> frozenset[Date]:
    """Return the readings of `answer` as a date, the most complete only; empty if it is not a date."""
    found = {date for one in spelled_out(answer) for date in _dates_in(one)}
    fullest = max((sum(part is not None for part in date) for date in found), default=0)
    return frozenset(date for date in found if sum(part is not None for part in date) == fullest)


def _dates_in(text: str) -> Iterator[Date]:
    plain = plain_text(text).casefold()
    for match in _COMPACT.finditer(plain):
        yield from _compact(match[0])
    parts = list(_parts(words(_BORDER.sub(" ", _LIST.sub(" ﷲ ", plain)))))
    for start in range(len(parts)):
        yield from _read(parts[start : start + 3])
        yield from _read(parts[start : start + 2])


def _parts(tokens: Sequence[str]) -> Iterator[str | frozenset[int]]:
    """Yield numbers, months as the possible numbers of their name, and a break for any other word."""
    names, place = _month_names(), 0
    while place < len(tokens):
        token = tokens[place]
        for name, months in names.get(token, ()):
            if tuple(tokens[place : place + len(name)]) == name:
                yield months
                place += len(name)
                break
        else:
            if token.isascii() and token.isdigit():
                yield token
            elif token not in _FILLERS:
                yield _BREAK
            place += 1


def _read(parts: Sequence[str | frozenset[int]]) -> Iterator[Date]:
    """Yield the readings of two or three adjacent parts."""
    if _BREAK in parts:
        return
    numbers = [part for part in parts if isinstance(part, str)]
    months = [part for part in parts if isinstance(part, frozenset)]
    if len(parts) == 3 and len(months) == 1:
        for day, year in itertools.permutations(numbers):
            yield from _made(_years(year), sorted(months[0]), day)
    elif len(parts) == 3 and not months:
        first, second, third = numbers
        orders = [(third, second, first), (third, first, second), (first, second, third)]
        for year, month, day in orders:
            if len(month) <= 2:
                yield from _made(_years(year), [int(month)], day)
    elif len(parts) == 2 and not months:
        for month, year in itertools.permutations(numbers):
            if len(year) == 4 and len(month) <= 2 and 1 <= int(month) <= 12:
                yield Date(int(year), int(month), None)
    elif len(parts) == 2 and len(months) == 1:
        (number,) = numbers
        for named in sorted(months[0]):
            if len(number) <= 2:
                yield from _made([None], [named], number)
            yield from (Date(year, named, None) for year in _years(number))


def _made(years: Sequence[int | None], months: Sequence[int], day: str) -> Iterator[Date]:
    if len(day) > 2 or not 1 <= int(day) <= 31:
        return
    for year in years:
        for month in months:
            if 1 <= month <= 12:
                yield Date(year, month, int(day))


def _years(number: str) -> list[int]:
    if len(number) in {3, 4}:
        return [int(number)]
    return [1900 + int(number), 2000 + int(number)] if len(number) == 2 else []


def _compact(digits: str) -> Iterator[Date]:
    """Read eight digits: 19620312, 12031962, 03121962."""
    for year, month, day in ((0, 4, 6), (4, 2, 0), (4, 0, 2)):
        found = digits[year : year + 4]
        if 1000 <= int(found) <= 2999:
            yield from _made([int(found)], [int(digits[month : month + 2])], digits[day : day + 2])


@lru_cache(maxsize=1)
def _month_names() -> Mapping[str, Sequence[tuple[tuple[str, ...], frozenset[int]]]]:
    """Return the names of months, split into words, by their first word, the longest first."""
    from babel import Locale

    found: dict[tuple[str, ...], set[int]] = {(name,): {number} for number, name in _ROMAN.items()}
    for identifier in LOCALES:
        months = Locale.parse(identifier).months
        for context, width in itertools.product(("format", "stand-alone"), ("wide", "abbreviated")):
            for number, name in months[context][width].items():
                key = tuple(words(name))
                if not any(word.isdigit() for word in key) and len("".join(key)) > 1:
                    found.setdefault(key, set()).add(number)
    by_first: dict[str, list[tuple[tuple[str, ...], frozenset[int]]]] = {}
    for key in sorted(found, key=len, reverse=True):
        by_first.setdefault(key[0], []).append((key, frozenset(found[key])))
    return by_first

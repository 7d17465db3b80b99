"""Matching of amounts with unit or currency: 5 km = five kilometres = 5 kilómetros; $5 million = 5,000,000 dollars."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from edgeproof.eval.matching.numbers import numbers_in, one_line
from edgeproof.eval.matching.spelled import spelled_out
from edgeproof.eval.matching.words import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from fractions import Fraction

LOCALES = ("en", "en_GB", "de", "fr", "es", "it", "pt", "nl", "da", "sv", "pl", "ru", "tr", "zh", "ja", "ko")
"""Locales whose names of units and currencies are recognized, from the Unicode CLDR."""

_LONGEST = 4
"""Maximum length of a name, in words."""

_NEAR = 48
"""Number of characters beside a number that are searched for its unit."""

_ENDS = ".,;:!?)]}\"'”’»。、，"
_STARTS = "([{\"'“‘«"


def holds_quantity(text: str, answer: str) -> bool:
    """Whether `text` holds the amount and unit of `answer`. Units are not converted: 5 km does not match 5,000 m."""
    wanted = _quantities_of(answer)
    return bool(wanted) and any(not wanted.isdisjoint(_quantities(one)) for one in spelled_out(text))


@lru_cache(maxsize=4096)
def _quantities_of(answer: str) -> frozenset[tuple[Fraction, str]]:
    return frozenset(quantity for one in spelled_out(answer) for quantity in _quantities(one))


def _quantities(text: str) -> Iterator[tuple[Fraction, str]]:
    """Yield each number of `text` that has a unit, with its possible units."""
    plain = one_line(text).casefold()
    for found in numbers_in(plain):
        after = plain[found.end : found.end + _NEAR].lstrip(" -")
        before = plain[max(0, found.start - _NEAR) : found.start].rstrip()
        for unit in _unit_after(after) or _unit_before(before):
            yield from ((value, unit) for value in found.values)


def _unit_after(text: str) -> frozenset[str]:
    units, parts = _units(), re.split(r"[\s-]+", text)
    for count in range(min(_LONGEST, len(parts)), 0, -1):
        name = " ".join(parts[:count])
        for form in (name, name.rstrip(_ENDS)):
            if form in units:
                return units[form]
    if parts[0][:1].isascii():
        return frozenset()
    return next((units[parts[0][:n]] for n in range(len(parts[0]), 0, -1) if parts[0][:n] in units), frozenset())


def _unit_before(text: str) -> frozenset[str]:
    units, parts = _units(), text.split()
    for count in range(min(_LONGEST, len(parts)), 0, -1):
        name = " ".join(parts[-count:])
        for form in (name, name.lstrip(_STARTS)):
            if form in units:
                return units[form]
    return frozenset()


@lru_cache(maxsize=1)
def _units() -> Mapping[str, frozenset[str]]:
    """Return the CLDR identifiers of units and currencies by name."""
    from babel import Locale
    from babel.numbers import get_currency_name, get_currency_symbol
    from babel.units import format_unit

    found: dict[str, set[str]] = {}

    def add(name: str, meaning: str) -> None:
        if plain := " ".join(plain_text(name).casefold().split()):
            found.setdefault(plain, set()).add(meaning)

    english = Locale.parse("en")
    for identifier in LOCALES:
        locale = Locale.parse(identifier)
        for unit, length, count in itertools.product(
            english.unit_display_names, ("long", "short", "narrow"), (1, 2, 5)
        ):
            add(format_unit(count, unit, length, format="0", locale=locale).replace(str(count), "", 1), unit)
        for currency in english.currencies:
            add(currency, currency)
            add(get_currency_symbol(currency, locale), currency)
            for count in (1, 2, 5):
                name = get_currency_name(currency, count, locale)
                add(name, currency)
                if locale.language == "en":
                    add(name.rsplit(" ", 1)[-1], currency)  # "dollars" of any country
    return {name: frozenset(meanings) for name, meanings in found.items()}

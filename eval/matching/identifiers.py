"""Matching of telephone numbers, IBANs and other identifiers, and years."""

from __future__ import annotations

import re
from functools import lru_cache

from edgeproof.eval.matching.numerals import GAP, holds_code
from edgeproof.eval.matching.spelled import spelled_out
from edgeproof.eval.matching.words import plain_text

_LEAST_CODE = 4
"""Minimum length of an identifier that matches in any grouping, in letters and digits: 3 4 is not 34."""

_LEAST_NATIONAL = 6
"""Minimum digits of a telephone number that matches with and without its country code."""

_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"))
_ROMAN_ONES = ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))


def holds_identifier(text: str, answer: str) -> bool:
    """Whether `text` holds the letters and digits of `answer`, in any grouping, or digit by digit in words."""
    return any(holds_code(one, answer, least_length=_LEAST_CODE) for one in spelled_out(text))


def holds_phone(text: str, answer: str) -> bool:
    """Whether `text` holds the telephone number `answer`, with or without country code, trunk 0 or exit code."""
    if holds_identifier(text, answer):
        return True
    pattern = _phone_pattern(answer)
    return pattern is not None and any(pattern.search(plain_text(one)) for one in spelled_out(text))


@lru_cache(maxsize=4096)
def _phone_pattern(answer: str) -> re.Pattern[str] | None:
    """Return a pattern of the national number, with any prefix.

    The country code is not looked up: in +49 30 123456 it may have one to three digits.
    """
    plain = plain_text(answer).strip()
    digits = re.sub("[^0-9]", "", plain.replace("(0)", ""))
    if plain.startswith("+") or digits.startswith("00"):
        digits = digits.lstrip("0")
        nationals = [digits[length:] for length in (1, 2, 3)]
    else:
        nationals = [digits]
    nationals = [national.removeprefix("0") for national in nationals]
    forms = [GAP.join(national) for national in dict.fromkeys(nationals) if len(national) >= _LEAST_NATIONAL]
    if not forms or len(digits) > 20:
        return None
    country = rf"(?:(?:\+|00){GAP}(?:[0-9]{GAP}){{1,3}}(?:\(0\){GAP})?|1(?=[0-9]{{10}}(?![0-9]))|0)?"
    return re.compile(rf"(?<![0-9A-Za-z]){country}(?:{'|'.join(forms)})(?![0-9A-Za-z])")


def holds_year(text: str, answer: str) -> bool:
    """Whether `text` holds the year `answer`: 1962, '62, nineteen sixty-two, MCMLXII."""
    patterns = _year_patterns(answer)
    return any(pattern.search(plain_text(one)) for one in spelled_out(text) for pattern in patterns)


@lru_cache(maxsize=4096)
def _year_patterns(answer: str) -> tuple[re.Pattern[str], ...]:
    years = {match for one in spelled_out(answer) for match in re.findall(r"(?<![0-9])[12][0-9]{3}(?![0-9])", one)}
    if len(years) != 1:
        return ()
    (year,) = years
    plain = rf"(?<![0-9.,]){year}(?![0-9]|[.,][0-9]{{3}}(?![0-9]))|['’‘]{year[2:]}(?![0-9])"
    return re.compile(plain), re.compile(rf"(?<![^\W_]){_roman(int(year))}(?![^\W_])", re.IGNORECASE)


def _roman(number: int) -> str:
    letters = ""
    for value, symbol in (*_ROMAN, *_ROMAN_ONES):
        count, number = divmod(number, value)
        letters += symbol * count
    return letters

"""Matching of numbers: 2,500, 2.500, 2 500, 2.5 thousand, 2.5k, "two thousand five hundred", 二千五百."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.matching.spelled import spelled_out
from edgeproof.eval.matching.words import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCALES = {
    3: "thousand thousands k tausend mille mil tusind duizend тыс тысяча тысячи тысяч 천",
    4: "만",
    5: "lakh lakhs lac",
    6: "million millions mio mln mn m millionen millones millon milhao milhoes milioni milione miljoen millioner "
    "миллион миллиона миллионов млн",
    7: "crore crores",
    8: "억",
    9: "billion billions bn b milliard milliards milliarde milliarden mrd mld miliardi miliardo miljard milliarder "
    "миллиард миллиарда миллиардов млрд",
    12: "trillion trillions tn billionen billones bilhoes biliardi biljoen",
}
_SCALE_OF = {word: 10**power for power, names in _SCALES.items() for word in names.split()}
_UNCERTAIN = frozenset({"k", "m", "b"})
"""Letters that may also be a unit (5 m, 5 b): both readings count, with and without the scale."""

_ENDINGS = "st nd rd th er ere re e eme o a de ste te"
_ORDINALS = frozenset(_ENDINGS.split())
"""Suffixes of ordinal numbers: "fifth" is not 5."""

_NUMBER = re.compile(
    r"(?<![0-9])(?P<digits>[0-9]{1,3}(?: [0-9]{3})+(?![0-9])(?:[.,][0-9]+)?|[0-9]+(?:[.,'’_٬٫][0-9]+)*)"
    r"(?:(?P<power> 1000(?:000)*)(?![0-9.,])|[ -]?(?P<scale>[^\W\d_]+))?"
)
_PLACES = re.compile(r"[0-9]{1,3}(?P<separator>[.,'’_٬ ])[0-9]{3}(?:(?P=separator)[0-9]{3})*(?P<decimals>[.,٫][0-9]+)?")
_LAKHS = re.compile(r"[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?P<decimals>\.[0-9]+)?")
_DECIMAL = re.compile(r"[0-9]+[.,٫][0-9]+")
_LONGEST = 60
"""Maximum digits of a number."""


class Found(NamedTuple):
    """A number in a text: its possible values, and its position."""

    values: frozenset[Fraction]
    start: int
    end: int


def holds_number(text: str, answer: str) -> bool:
    """Whether `text` holds the number `answer`, in any notation. An answer with several numbers is not a number."""
    wanted = number_values(answer)
    return bool(wanted) and any(
        not wanted.isdisjoint(found.values) for one in spelled_out(text) for found in numbers_in(one)
    )


@lru_cache(maxsize=4096)
def number_values(answer: str) -> frozenset[Fraction]:
    """Return the possible values of `answer`; empty if it does not hold exactly one number."""
    values: set[Fraction] = set()
    for text in spelled_out(answer):
        found = list(numbers_in(text, both=False))
        if len({one.start for one in found}) == 1:
            values.update(*(one.values for one in found))
    return frozenset(values)


def numbers_in(text: str, *, both: bool = True) -> Iterator[Found]:
    """Find the numbers in a text whose number words were replaced by digits.

    If a space may separate thousands or two numbers, both readings are yielded unless `both` is False. A separator
    before three digits may separate thousands or decimals (1.500): both values are included.
    """
    plain = one_line(text)
    for match in _NUMBER.finditer(plain):
        digits, power = match["digits"], match["power"]
        scale = (match["scale"] or "").casefold()
        start, end = match.span("digits")
        if scale in _ORDINALS and match.start("scale") == end:
            continue
        values = _values(digits)
        factor = int(power) if power else _SCALE_OF.get(scale)
        if values and factor:
            yield Found(frozenset(value * factor for value in values), start, match.end())
        if values and (not factor or scale in _UNCERTAIN):
            yield Found(values, start, end)
        if not values or (both and " " in digits):
            for part in re.finditer(r"[0-9]+", digits):
                yield Found(_whole(part[0]), start + part.start(), start + part.end())


def one_line(text: str) -> str:
    """Return plain `text` with one kind of space, to which the positions of `numbers_in` refer."""
    return re.sub(r"[^\S\n]", " ", plain_text(text))


def _values(digits: str) -> frozenset[Fraction]:
    """Return the values of one number in digits; empty for a chain of several (12.03.1962)."""
    if digits.isdigit():
        return _whole(digits)
    if len(digits) > _LONGEST:
        return frozenset()
    found: set[Fraction] = set()
    for form in (_PLACES, _LAKHS):
        if match := form.fullmatch(digits):
            decimals = (match["decimals"] or "")[1:]
            whole = digits[: match.start("decimals")] if decimals else digits
            found.add(Fraction(f"{re.sub('[^0-9]', '', whole)}.{decimals or '0'}"))
    if _DECIMAL.fullmatch(digits):
        found.add(Fraction(re.sub("[^0-9]", ".", digits)))
    return frozenset(found)


def _whole(digits: str) -> frozenset[Fraction]:
    return frozenset({Fraction(int(digits))}) if len(digits) <= _LONGEST else frozenset()

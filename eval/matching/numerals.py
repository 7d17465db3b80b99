"""Matching of digits with and without separators: 1,000,000 and 1000000; 555-0143 and 5550143; DE89 37 and DE8937."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from edgeproof.eval.matching.words import plain_text, words

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_CODE = 5
"""Minimum digits of an answer that matches in any grouping. Shorter ones need thousands separators, or a type."""

_LONGEST = 200
"""Maximum length of an identifier, in letters and digits."""

_LONG_WORD = re.compile(r"[^\W\d_]{5}")
"""More consecutive letters than an identifier has (IBAN countries, licence plates, the parts of a SWIFT code)."""

_GROUPED = re.compile(
    r"(?<![0-9])(?<![0-9][.,'’_٬])"
    r"(?:[0-9]{1,3}(?P<separator>[.,'’_٬])[0-9]{3}(?:(?P=separator)[0-9]{3})*(?![0-9]|(?P=separator)[0-9])"
    r"|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9]|,[0-9]))"
)
"""Thousands separators, including India's lakhs (12,34,567)."""

_SPACED = re.compile(r"(?<![0-9])(?<![0-9][ .,'’_٬-])[0-9]{1,3}(?: [0-9]{3})+(?![0-9]| [0-9])")
_SPACE = re.compile(r"[^\S\n]")
_BETWEEN = re.compile(r"[.,'’_٬ ]")
_DIGIT_BY_LETTER = re.compile(r"(?<=[0-9])(?=[^\W\d_])(?=[^\x00-\x7f])|(?<=[^\x00-\x7f])(?<=[^\W\d_])(?=[0-9])")

GAP = r"(?>[^\S\n]?[()/.\-–—‐−'’_·:]{0,2}[^\S\n]?)"
"""Separators within an identifier: not comma or line break, which separate the items of a list."""


def numeral_readings(text: str) -> Iterator[str]:
    """Yield plain `text` without thousands separators.

    A space may separate thousands or numbers ("1 000 000", "rooms 12 345"), and digits after "+" or "(" may be a phone
    number (+34.612.345.678): both readings are yielded. Digits are separated from following letters of other scripts
    ("1962г", "5км"), which are units and endings.
    """
    plain = _DIGIT_BY_LETTER.sub(" ", _SPACE.sub(" ", plain_text(text)))
    closed = _GROUPED.sub(_without_separators, plain)
    cautious = _GROUPED.sub(lambda match: match[0] if _may_be_phone(match) else _without_separators(match), plain)
    yield from dict.fromkeys((closed, cautious, _SPACED.sub(_without_separators, closed)))


def _may_be_phone(match: re.Match[str]) -> bool:
    return match.string[: match.start()].endswith(("+", "("))


def holds_code(text: str, answer: str, *, least_length: int | None = None) -> bool:
    """Whether `text` holds the digits and letters of `answer`, in any grouping, and not as part of more digits.

    Only for identifiers: answers with `LONG_CODE` digits or more and no long words. Answers that the pack declares as
    identifiers need `least_length` letters and digits only.
    """
    pattern = _code_pattern(answer, least_length)
    return pattern is not None and pattern.search(plain_text(text)) is not None


@lru_cache(maxsize=4096)
def _code_pattern(answer: str, least_length: int | None) -> re.Pattern[str] | None:
    parts = words(answer)
    code = "".join(parts)
    if len(code) > _LONGEST:
        return None
    if least_length is not None:
        if len(code) < least_length:
            return None
    elif sum(c in "0123456789" for c in code) < LONG_CODE or _LONG_WORD.search(" ".join(parts)):
        return None
    return re.compile(rf"(?<![0-9A-Za-z]){GAP.join(map(re.escape, code))}(?![0-9A-Za-z])", re.IGNORECASE)


def _without_separators(match: re.Match[str]) -> str:
    return _BETWEEN.sub("", match[0])

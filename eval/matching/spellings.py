"""Matching of alternative spellings: N'Djamena and Ndjamena, Al-Khwarizmi and Alkhwarizmi, Łódź and Lodz, P-a-r-i-s."""

from __future__ import annotations

import re

from edgeproof.eval.matching.words import plain_text

_LETTERS = str.maketrans(
    {
        "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "ħ": "h", "Ħ": "H", "ı": "i",
        "ŧ": "t", "Ŧ": "T", "þ": "th", "Þ": "Th", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ə": "e", "Ə": "E",
    }
)  # fmt: skip
"""Letters without a Unicode decomposition, and their usual replacements."""

_WITHIN = re.compile(r"(?<=[^\W\d_])['’‘ʼʻ`´\-‐](?=[^\W\d_])(?!(?:s|ll|re|ve|d|m|t)\b)")
"""Apostrophes and hyphens between letters, except in contractions: "I'll" is not "Ill"."""

_LETTER_BY_LETTER = re.compile(r"(?<![^\W_])(?:[^\W\d_][ .,-]{1,2}){3,}[^\W\d_](?![^\W_])")
"""Four or more single letters."""


def spelling_readings(text: str) -> tuple[str, ...]:
    """Return plain `text`, and its version without apostrophes and hyphens inside words and gaps in single letters."""
    plain = plain_text(text).translate(_LETTERS)
    closed = _WITHIN.sub("", _LETTER_BY_LETTER.sub(lambda match: re.sub(r"[\W_]", "", match[0]), plain))
    return (plain,) if closed == plain else (plain, closed)

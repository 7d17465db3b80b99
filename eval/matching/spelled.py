"""Number words to digits: "nineteen sixty-two" → "1962", "五百" → "500"; text2num's languages and Chinese."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from edgeproof.eval.matching.words import visible_text

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "da")

_COMMON = "a an een ein eine en et fire ni on ti to um uma un una une uno"
_RARER = "cent dos due elf fem mil mille nova once os sei sept set sete ten tolv"
_ARTICLES = frozenset(_COMMON.split())
_HOMOGRAPHS = _ARTICLES | frozenset(_RARER.split())
"""Number words of one language that are common words of another. They count alone, or beside another number word that
is not one of the commonest."""

_WORD = re.compile(r"[^\W\d_]+")
_YEAR_IN_PAIRS = re.compile(r"\b(1[1-9]|20)[ -](?:(\d\d)|(?:oh|o)[ -](\d))\b", re.IGNORECASE)

_HAN_DIGITS = {c: str(value) for value, c in enumerate("〇一二三四五六七八九")} | {
    "零": "0",
    "○": "0",
    "两": "2",
    "兩": "2",
}
_HAN_TENS = {"十": 10, "百": 100, "千": 1000}
_HAN_MYRIADS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8, "兆": 10**12}
_HAN_NUMBER = re.compile(f"[0-9.]*[{''.join((*_HAN_DIGITS, *_HAN_TENS, *_HAN_MYRIADS))}]+")


@lru_cache(maxsize=512)
def spelled_out(text: str) -> tuple[str, ...]:
    """Return `text`, and its versions with number words in digits, one per language that changes something.

    Years in pairs ("19 62", "nineteen oh five") are joined. Accents are kept: number words have them.
    """
    clean = visible_text(unicodedata.normalize("NFKC", visible_text(text.encode("utf-8", "replace").decode())))
    found = [clean]
    if not clean.isascii():
        found.append(_HAN_NUMBER.sub(_han_number, clean))
    for language in LANGUAGES:
        converted = _converted(clean, language)
        if converted != clean:
            found += [_YEAR_IN_PAIRS.sub(_year, converted), converted]
    return tuple(dict.fromkeys(found))


def _converted(text: str, language: str) -> str:
    from text_to_num import alpha2digit

    if language != "en" and len(_WORD.findall(text)) > 1:
        text = _WORD.sub(lambda match: _masked(match, language), text)
    return str(alpha2digit(text, language, 0)).replace(_MASK, "")


_MASK = "\ua66e"
"""A letter (ꙮ) of a single manuscript, prepended to a word so that it is not read as a number word."""


def _masked(match: re.Match[str], language: str) -> str:
    """Return the word, masked if it is a homograph without an adjacent number word."""
    word = match[0]
    if word.lower() not in _HOMOGRAPHS:
        return word
    before = re.search(r"([^\W\d_]+)[ -]$", match.string[max(0, match.start() - 30) : match.start()])
    after = re.match(r"[ -]([^\W\d_]+)", match.string[match.end() : match.end() + 30])
    beside = [found[1].lower() for found in (before, after) if found]
    return word if any(_is_number(other, language) for other in beside) else _MASK + word


@lru_cache(maxsize=4096)
def _is_number(word: str, language: str) -> bool:
    from text_to_num import alpha2digit

    return word not in _ARTICLES and str(alpha2digit(word, language, 0))[:1].isdigit()


def _year(match: re.Match[str]) -> str:
    return match[1] + (match[2] or "0" + match[3])


def _han_number(match: re.Match[str]) -> str:
    """Convert a number in Chinese characters, which may begin with digits (150万), to digits; years digit by digit."""
    text = match[0]
    if all(c in _HAN_DIGITS for c in text):
        return "".join(_HAN_DIGITS[c] for c in text)
    total = section = 0.0
    digits = ""
    for c in text:
        if c in _HAN_TENS:
            section += _value(digits, 1) * _HAN_TENS[c]
            digits = ""
        elif c in _HAN_MYRIADS:
            total += (section + _value(digits, 0 if section else 1)) * _HAN_MYRIADS[c]
            section, digits = 0.0, ""
        else:
            digits += _HAN_DIGITS.get(c, c)
    value = total + section + _value(digits, 0)
    return f"{value:.10f}".rstrip("0").rstrip(".")


def _value(digits: str, otherwise: float) -> float:
    try:
        return float(digits)
    except ValueError:
        return otherwise

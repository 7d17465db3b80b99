"""Word splitting for comparing a reply with an answer, in any script."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_DIACRITIC_CLASS = 200
"""Combining classes from here on are accents above, below and attached (é, ç, ő), which writers often omit; lower
classes are vowel signs, viramas, dakuten and tone marks, which change the word …"""

_POINTS = range(10, 37)
"""… except these: the points of Hebrew, Arabic and Syriac, which most texts omit.
Enclosing marks (keycaps) are dropped too."""

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x9FFF),  # CJK ideographs
    (0xAC00, 0xD7A3),  # Hangul: Korean has spaces, and particles at the end of its words
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0x20000, 0x3FFFF),  # CJK extensions
)
"""Scripts without spaces between words: each character counts as a word."""

_INVISIBLE = re.compile("[\u034f\u0640\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Characters dropped besides format characters (category Cf): joiners and variation selectors in mark categories, and
the Arabic tatweel, which lengthens a word without being one of its letters."""

_HALF_SPACE = re.compile("(?<=[\u0600-\u06ff])\u200c+(?=[\u0600-\u06ff])")
"""Zero-width non-joiner of Persian, Urdu and Kurdish between stem and ending, sometimes written as a space."""

_ASCII_WORD = re.compile(r"[A-Za-z0-9]+")


def visible_text(text: str) -> str:
    """Remove invisible characters."""
    return text if text.isascii() else "".join(c for c in text if not _is_invisible(c))


def plain_text(text: str) -> str:
    """Normalize compatibility forms and digits; remove accents and invisible characters.

    Soft hyphens, zero-width spaces, joiners and non-joiners, byte-order and direction marks, and variation selectors
    are dropped. In Indic scripts a joiner can change a word's shape, and for a few pairs its meaning; words that
    differ in nothing else are treated as equal.
    """
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", visible_text(text))
    return unicodedata.normalize("NFC", "".join(map(_plain, decomposed)))


def halves_of_words(text: str) -> tuple[str, ...]:
    """Return the readings of `text`: unchanged, and with spaces for the half spaces of Arabic script, if any."""
    spaced = _HALF_SPACE.sub(" ", text)
    return (text,) if spaced == text else (text, spaced)


def words(text: str, *, fold_case: bool = True) -> list[str]:
    """Split `text` into words: runs of letters, digits and their marks, after `plain_text`.

    For ASCII text with `fold_case` this equals rouge_score's default tokenizer. In scripts without spaces between words
    each character is a word.
    """
    plain = plain_text(text)
    if fold_case:
        plain = plain.casefold()
    if plain.isascii():
        return _ASCII_WORD.findall(plain)
    found: list[str] = []
    run: list[str] = []
    for character in plain:
        if _in_words(character):
            run.append(character)
            continue
        if run:
            found.append("".join(run))
            run = []
        if _unspaced(character):
            found.append(character)
    if run:
        found.append("".join(run))
    return found


def contains_words(text: list[str], sought: list[str]) -> bool:
    """Whether `sought` (not empty) occurs in `text` as consecutive whole words."""
    length = len(sought)
    return any(text[start : start + length] == sought for start in range(len(text) - length + 1))


@lru_cache(maxsize=16_384)
def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) == "Cf" or _INVISIBLE.match(character) is not None


@lru_cache(maxsize=16_384)
def _plain(character: str) -> str:
    """Return the part of a decomposed character that `plain_text` keeps."""
    combining, category = unicodedata.combining(character), unicodedata.category(character)
    if combining >= _DIACRITIC_CLASS or combining in _POINTS or category == "Me" or _is_invisible(character):
        return ""
    return str(unicodedata.decimal(character)) if category == "Nd" else character


@lru_cache(maxsize=16_384)
def _in_words(character: str) -> bool:
    return not _unspaced(character) and (character.isalnum() or unicodedata.category(character).startswith("M"))


@lru_cache(maxsize=16_384)
def _unspaced(character: str) -> bool:
    point = ord(character)
    if point < _UNSPACED[0][0]:
        return False
    return any(first <= point <= last for first, last in _UNSPACED) and character.isalnum()

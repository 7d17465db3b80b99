"""The words of a text, for comparing what a model said with what it should (not) say: any script, not ASCII alone."""

from __future__ import annotations

import unicodedata

_DIACRITIC_CLASS = 200
"""Combining classes from here on are accents above, below and attached (é, ç, ő), which writers leave out; the vowel
signs, viramas, dakuten and tone marks below it change the word."""

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x9FFF),  # CJK ideographs
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0x20000, 0x3FFFF),  # CJK extensions
)
"""Scripts written without spaces: each character counts as a word."""


def words(text: str, *, fold_case: bool = True) -> list[str]:
    """Split `text` into words: runs of letters, digits and their marks, accents dropped, compatibility forms unified.

    For ASCII text with `fold_case` this is what rouge_score's default tokenizer does. Characters of scripts that are
    written without spaces are words of their own.
    """
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in decomposed if unicodedata.combining(c) < _DIACRITIC_CLASS)
    composed = unicodedata.normalize("NFC", plain)
    if fold_case:
        composed = composed.casefold()
    found: list[str] = []
    run: list[str] = []
    for character in composed:
        if _unspaced(character):
            if run:
                found.append("".join(run))
                run = []
            found.append(character)
        elif character.isalnum() or unicodedata.category(character).startswith("M"):
            run.append(character)
        elif run:
            found.append("".join(run))
            run = []
    if run:
        found.append("".join(run))
    return found


def contains_words(text: list[str], sought: list[str]) -> bool:
    """Tell whether `sought` (not empty) occurs in `text` as consecutive whole words."""
    length = len(sought)
    return any(text[start : start + length] == sought for start in range(len(text) - length + 1))


def _unspaced(character: str) -> bool:
    point = ord(character)
    if point < _UNSPACED[0][0]:
        return False
    return any(first <= point <= last for first, last in _UNSPACED) and character.isalnum()

"""Texts on which tokenizers differ: spaces, line ends, combining marks, scripts, numbers, controls, code.

For each kind, two tokenizers are known that agree on prose and differ here.
"""

from __future__ import annotations

import unicodedata

TRAPS: tuple[str, ...] = (
    # Empty text, and all kinds of spaces
    "",
    "a",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    "\n\n\n",
    "\t",
    "\r\n",
    "\r",
    "a\r\nb\r\n\r\nc",
    " leading",
    "trailing ",
    "trailing\n",
    "  two  spaces  ",
    "a\n\n\n\nb",
    "a\t\t\tb",
    "\n \n  \n   \n",
    "a \n b",
    "a\n 12",
    " \t \n\t x",
    "x" + " " * 40 + "y",
    "\n" * 40,
    "\t" * 33 + "x",
    "    indented\n\tand tabbed\n",
    "x \N{NO-BREAK SPACE} y",
    "\N{NO-BREAK SPACE}a\N{EM SPACE}b\N{IDEOGRAPHIC SPACE}c\x85d",
    "line\N{LINE SEPARATOR}paragraph\N{PARAGRAPH SEPARATOR}end",
    "\x0b\x0c",
    # Contractions and quotes
    "I'm you're he's we've they'll I'd can't don't 'tis O'Brien's",
    "I'M YOU'RE HE'S WE'VE THEY'LL I'D",
    "it\N{RIGHT SINGLE QUOTATION MARK}s \N{LEFT DOUBLE QUOTATION MARK}so\N{RIGHT DOUBLE QUOTATION MARK} – or — not…",
    "'''' ```` \"\"\"\" ''s 's",
    # Numbers
    "0 1 12 123 1234 12345 123456 1234567 12345678",
    "3.14159 1,000,000 1e-10 0x1F v2.0.1-rc3 1314151",
    "٣٤٥ १२३ 一二三 ½ ² Ⅷ ①",
    "ab1c2 D3 3D 1st 2nd",
    # Latin, composed and decomposed
    "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve caf\N{LATIN SMALL LETTER E WITH ACUTE} ÅÄÖ",
    "\N{ANGSTROM SIGN} \N{KELVIN SIGN} \N{OHM SIGN}",
    "e\N{COMBINING ACUTE ACCENT} cafe\N{COMBINING ACUTE ACCENT}s",
    "\N{COMBINING ACUTE ACCENT} lone mark",
    "a\N{COMBINING GRAVE ACCENT}\N{COMBINING ACUTE ACCENT}\N{COMBINING TILDE}b",
    "Stra\N{LATIN SMALL LETTER SHARP S}e STRASSE fi \N{LATIN SMALL LIGATURE FI} \N{LATIN SMALL LETTER DZ WITH CARON}",
    "tEsT CamelCaseWord HTTPServer ÉCOLE École éCOLE ÀÉÎ",
    # Other scripts
    "ΑΒΓ αβγ Ωμέγα ΩΜΈΓΑ",
    "ПРИВЕТ Привет привет нещо на Български",
    "日本語のテキスト、カタカナ。",
    "中文，标点。测试！我想在apple工作1314151天～",
    "한국어 텍스트",
    "\N{HANGUL CHOSEONG HIEUH}\N{HANGUL JUNGSEONG A}\N{HANGUL JONGSEONG NIEUN}",
    "ภาษาไทย กำลัง",
    "हिन्दी में पाठ",
    "កាន់តែពិសេសអាច",
    "العربية من اليمين 123 ثم left",
    "كَتَبَ",
    "עברית שלום",
    "فارسی\N{ZERO WIDTH NON-JOINER}نیم",
    "\N{RIGHT-TO-LEFT OVERRIDE}override\N{POP DIRECTIONAL FORMATTING}",
    # Emoji and beyond the basic plane
    "😀 🚀🚀 👍🏽 🇨🇦 🏳️\N{ZERO WIDTH JOINER}🌈",
    "👩\N{ZERO WIDTH JOINER}👩\N{ZERO WIDTH JOINER}👧\N{ZERO WIDTH JOINER}👦 😶\N{ZERO WIDTH JOINER}🌫️",
    "☃ ✅ ❤️ ‼ ™ ©",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 𓀀 𠀀",
    # Invisible characters
    "zero\N{ZERO WIDTH SPACE}width\N{WORD JOINER}joiners\N{ZERO WIDTH NO-BREAK SPACE}end soft\N{SOFT HYPHEN}hyphen",
    "\N{ZERO WIDTH NO-BREAK SPACE}byte order mark",
    "\ue000\uf8ff private use",
    "\x00nul \x01\x02 \x1b[0m \x7f \x80",
    "\ufffd\ufffe\uffff\U0010ffff",
    # Symbols, code, and tokenizers' internal notations
    "!!!???... ------======= $100 €50 £5 ¥9 #tag @name",
    "....\n/x foo\nBar/baz\r\n//",
    "<b>html</b> &amp; <br/>",
    "def f(x):\n    return x**2  # ok\n\n\tif a != b:\n\t\tpass",
    "https://example.com/a?b=c&d=%20#x user@example.com a_b-c/d\\e",
    "▁▁ ▁under Ġ Ċ ĉ",
    "<0x41> <0x0A> [PAD7] [UNK]",
    # Long words
    "word" * 300,
    "a" * 500,
    "Supercalifragilisticexpialidocious",
    "The quick brown fox jumps over the lazy dog.",
)


def is_composed(text: str) -> bool:
    """Whether a text is in NFC."""
    return unicodedata.is_normalized("NFC", text)


def has_marks(text: str) -> bool:
    """Whether a text holds combining marks: vowel signs of Thai, Hindi and Khmer, Arabic vowels, combining accents."""
    return any(unicodedata.category(character).startswith("M") for character in text)

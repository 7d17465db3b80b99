"""Text from files made fit to be shown: no control characters, no CI commands, no flood."""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Escaped characters: controls (which start ANSI escapes), invisible format characters (which can reverse a line's
direction), surrogates, private and unassigned characters (some invalid in XML), line and paragraph separators."""

LONGEST_MESSAGE = 4000
_KEPT_AT_END = 500
_COMMAND = re.compile(r"^(\s*)(::|##)", re.MULTILINE)


def escaped(text: str) -> str:
    r"""Return `text` with invisible characters, line breaks too, as \x1b or \u202e."""
    return "".join(_escape(c) if unicodedata.category(c) in _UNSEEN else c for c in text)


def message_of(text: str) -> str:
    """Return a message of some lines that may quote a file: cut in its middle if it is long, its lines escaped.

    GitHub Actions and Azure Pipelines execute log lines that begin with "::error::", "##[command]" or "##vso[…]"; a
    backslash before them prevents that.
    """
    if len(text) > LONGEST_MESSAGE:
        begin = LONGEST_MESSAGE - _KEPT_AT_END
        text = f"{text[:begin]}… ({len(text) - LONGEST_MESSAGE:,} more characters) …{text[-_KEPT_AT_END:]}"
    lines = "\n".join(escaped(line.expandtabs()) for line in text.split("\n"))
    return _COMMAND.sub(r"\1\\\2", lines)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

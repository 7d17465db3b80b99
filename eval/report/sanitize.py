"""Sanitizes untrusted strings for display: ids, cluster names, answers."""

from __future__ import annotations

import unicodedata

LONGEST = 200
"""Maximum characters shown of a string in a terminal or CI log; report.json has the complete string."""

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Escaped characters: controls (which start ANSI escapes), invisible format characters (which can reverse a line's
direction), surrogates, private and unassigned characters (some invalid in XML), line and paragraph separators."""


def inert(text: str, longest: int = LONGEST) -> str:
    r"""Return `text` on one line, with invisible characters as \x1b or \u202e, and without CI commands.

    GitHub Actions and Azure Pipelines execute log lines with "::error::", "##[command]" or "##vso[…]"; a backslash
    between the two characters prevents that.
    """
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    shown = "".join(_escape(c) if unicodedata.category(c) in _UNSEEN else c for c in text)
    return shown.replace("::", ":\\:").replace("##", "#\\#")


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

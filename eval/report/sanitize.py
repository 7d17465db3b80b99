"""Makes other people's strings harmless to show: ids, cluster names and answers can hold anything."""

from __future__ import annotations

import unicodedata

LONGEST = 200
"""Characters shown of one string in a terminal or a CI log; report.json has them all."""

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Controls (ANSI escapes start with one), invisible format characters (they can turn a line's direction), surrogates,
private and unassigned characters (some of which XML forbids), line and paragraph separators."""


def inert(text: str, longest: int = LONGEST) -> str:
    r"""Give `text` in one line with everything unseen as \x1b or \u202e, and no command of a CI system in it.

    GitHub Actions and Azure Pipelines obey log lines with "::error::", "##[command]" or "##vso[…]": a backslash between
    the two characters takes their meaning away.
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

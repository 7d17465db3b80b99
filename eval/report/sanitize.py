"""Sanitizes untrusted strings for display: ids, cluster names, answers."""

from __future__ import annotations

from edgeproof.contracts.visible import escaped

LONGEST = 200
"""Maximum characters shown of a string in a terminal or CI log; report.json has the complete string."""


def inert(text: str, longest: int = LONGEST) -> str:
    r"""Return `text` on one line, with invisible characters as \x1b or \u202e, and without CI commands.

    GitHub Actions and Azure Pipelines execute log lines with "::error::", "##[command]" or "##vso[…]"; a backslash
    between the two characters prevents that.
    """
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return escaped(text).replace("::", ":\\:").replace("##", "#\\#")

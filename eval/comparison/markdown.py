"""Markdown of a comparison, for a comment on a pull request, without texts of probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.comparison.wording import HEADS, headline, rows
from edgeproof.eval.report.markdown import NAMED, code, prose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.eval.comparison.compare import Comparison


def markdown_comparison(comparison: Comparison) -> str:
    """Return the comment; external names are formatted as code, so that they cannot contain markup."""
    lines = [
        f"## {prose(headline(comparison))}",
        "",
        "| | verdict | artifact | format | gated |",
        "|---|---|---|---|---|",
    ]
    for side, report in (("old", comparison.old), ("new", comparison.new)):
        verdict = f"{report.verdict}: {prose(report.reason)}"
        when = report.created.isoformat(timespec="minutes")
        lines.append(f"| {side} | {verdict} | {code(report.artifact)} | {code(report.format)} | {when} |")
    lines += [
        "",
        f"Newly leaking: {_named(comparison.newly_leaking)}.",
        "",
        f"Healed: {_named(comparison.healed)}.",
        "",
        f"| {' | '.join(HEADS)} |",
        f"|{'---|' * len(HEADS)}",
    ]
    for what, surface, *cells in rows(comparison):
        shown = [prose(what), code(surface) if surface else "", *map(prose, cells)]
        lines.append(f"| {' | '.join(shown)} |")
    lines += ["", *(f"- {prose(note)}" for note in comparison.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _named(clusters: Sequence[str]) -> str:
    more = f" and {len(clusters) - NAMED} more" if len(clusters) > NAMED else ""
    return f"{', '.join(map(code, clusters[:NAMED])) or 'none'}{more}"

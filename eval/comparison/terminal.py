"""Terminal output of a comparison."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from edgeproof.eval.comparison.changes import Found
from edgeproof.eval.comparison.wording import HEADS, headline, rows
from edgeproof.eval.report.console import cell, emit, line, new_table, open_console
from edgeproof.eval.report.sanitize import inert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.eval.comparison.compare import Comparison
    from rich.console import Console

NAMED = 40
"""Maximum number of clusters named; the JSON has all."""
_COLORS = {Found.WORSE: "bold red", Found.BETTER: "green", Found.UNTESTED: "yellow"}


def render_comparison(comparison: Comparison, *, file: TextIO | None = None) -> None:
    """Print a comparison to `file`, default stderr."""
    file = sys.stderr if file is None else file
    console = open_console(file)
    old, new = comparison.old, comparison.new
    line(console, headline(comparison), "bold red" if comparison.worse or comparison.newly_leaking else "bold")
    for side, report in (("OLD", old), ("NEW", new)):
        when = report.created.isoformat(timespec="minutes")
        name = f"{inert(report.artifact)} ({inert(report.format)})"
        line(console, f"{side}  {when}  {name}  {report.verdict}: {inert(report.reason)}")
    console.print()
    _named(console, "Newly leaking", comparison.newly_leaking, "red")
    _named(console, "Healed", comparison.healed, "green")
    console.print()
    table = new_table(*HEADS)
    for row in rows(comparison):
        *cells, found = row
        table.add_row(*map(cell, cells), cell(found, _COLORS.get(Found(found), "") if found else ""))
    console.print(table)
    for note in comparison.notes:
        line(console, f"Note: {inert(note, 500)}")
    emit(console, file)


def _named(console: Console, what: str, clusters: Sequence[str], color: str) -> None:
    shown = ", ".join(inert(name, 40) for name in clusters[:NAMED])
    more = f" and {len(clusters) - NAMED} more" if len(clusters) > NAMED else ""
    line(console, f"{what}: {shown or 'none'}{more}", color if clusters else "")

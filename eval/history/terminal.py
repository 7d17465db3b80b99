"""Terminal output of a history: a line a release, then what is not comparable and what is left out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from edgeproof.eval.history.wording import KEPT, release_row, where
from edgeproof.eval.report.console import cell, emit, line, new_table, open_console
from edgeproof.eval.report.sanitize import inert

if TYPE_CHECKING:
    from edgeproof.eval.history.releases import History

_COLORS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def render_history(history: History, *, file: TextIO | None = None) -> None:
    """Print a history to `file`, default stderr."""
    file = sys.stderr if file is None else file
    console = open_console(file)
    table = new_table("gated", "verdict", "format", *KEPT, "report")
    for column in table.columns[:-1]:
        column.no_wrap = True
    for release in history.releases:
        report = release.report
        name = cell(where(report.path, history.folder))
        name.no_wrap, name.overflow = True, "ellipsis"  # one line a release: the name gives way
        table.add_row(
            cell(f"{report.created:%Y-%m-%d %H:%M}"),
            cell(report.verdict, _COLORS[report.verdict]),
            cell(report.format),
            *map(cell, release_row(release)),
            name,
        )
    console.print(table)
    for release in history.releases:
        if release.before is not None and release.incomparable:
            names = (where(one.path, history.folder) for one in (release.report, release.before))
            reasons = "; ".join(release.incomparable)
            line(console, inert(f"{' is not comparable with '.join(names)} before it: {reasons}", 1000), "yellow")
    for one in history.left_out:
        line(console, inert(f"Left out: {one.reason}", 1000), "red")
    emit(console, file)

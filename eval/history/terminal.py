"""Terminal output of a history: a line a release, then what is not comparable and what is left out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from edgeproof.eval.history.wording import KEPT, release_row, where
from edgeproof.eval.report.console import cell, emit, line, new_table, open_console
from edgeproof.eval.report.sanitize import inert

if TYPE_CHECKING:
    from edgeproof.eval.history.releases import History
    from rich.console import Console
    from rich.table import Table

LEAST_WIDTH = 112
"""Columns that the table needs; in a narrower terminal a release has lines of its own."""

_COLORS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def render_history(history: History, *, file: TextIO | None = None) -> None:
    """Print a history to `file`, default stderr."""
    file = sys.stderr if file is None else file
    console = open_console(file)
    if console.width >= LEAST_WIDTH:
        console.print(_table(history))
    else:
        _lines(history, console)
    for release in history.releases:
        if release.before is not None and release.incomparable:
            names = (where(one.path, history.folder) for one in (release.report, release.before))
            reasons = "; ".join(release.incomparable)
            line(console, inert(f"{' is not comparable with '.join(names)} before it: {reasons}", 1000), "yellow")
    for one in history.left_out:
        line(console, inert(f"Left out: {one.reason}", 1000), "red")
    emit(console, file)


def _table(history: History) -> Table:
    """Return the table of releases, a line each."""
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
    return table


def _lines(history: History, console: Console) -> None:
    """Print each release on two lines or more: verdict and names, then the numbers with their heads."""
    for release in history.releases:
        report = release.report
        head = (
            f"{report.created:%Y-%m-%d %H:%M}  {report.verdict}  {report.format}  {where(report.path, history.folder)}"
        )
        line(console, inert(head, 200), _COLORS[report.verdict])
        line(console, "  " + ", ".join(f"{name} {text}" for name, text in zip(KEPT, release_row(release), strict=True)))

"""Terminal output of a new pack: its sets, then what was left out and what it cannot show."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from edgeproof.eval.report.console import cell, emit, line, new_table, open_console
from edgeproof.eval.report.sanitize import inert

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


def render_pack(
    out: Path,
    probes: Mapping[str, int],
    clusters: Mapping[str, int],
    notes: Iterable[str],
    *,
    file: TextIO | None = None,
) -> None:
    """Print a new pack's sets and notes to `file`, default stderr."""
    file = sys.stderr if file is None else file
    console = open_console(file)
    line(console, inert(str(out), 1000))
    console.print()
    table = new_table("set", "probes", "clusters")
    for name, count in probes.items():
        table.add_row(cell(name), cell(str(count)), cell(str(clusters[name])))
    console.print(table)
    console.print()
    for note in notes:
        line(console, inert(f"- {note}", 1000))
    emit(console, file)

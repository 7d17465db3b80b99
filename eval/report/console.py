"""Console of all terminal output: sanitized cells, no colours and a fixed width without a terminal, ASCII on demand."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TextIO

from edgeproof.eval.report.sanitize import inert

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PLAIN_WIDTH = 120
"""Default width without a terminal, as in a CI log, in columns."""

_PLAIN = str.maketrans(
    {"✓": "+", "✗": "x", "·": "-", "→": ">", "…": "...", "≤": "<=", "≥": ">=", "−": "-", "─": "-", "Δ": "d", "–": "-"}
)


def open_console(file: TextIO) -> Console:
    """Return a console that writes to memory, with the colours and width of `file`."""
    from rich.console import Console

    terminal = file.isatty()
    width = None if terminal else PLAIN_WIDTH
    shape = Console(file=file, width=width)
    return Console(
        file=io.StringIO(),
        width=shape.width,
        force_terminal=terminal,
        color_system=shape.color_system if terminal else None,
        no_color=shape.no_color,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )


def emit(console: Console, file: TextIO) -> None:
    """Write the console's content to `file`, in ASCII where its encoding requires it."""
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    output = "\n".join(lines) + "\n"
    encoding = file.encoding or "utf-8"
    try:
        output.encode(encoding)
    except UnicodeEncodeError:
        output = output.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    file.write(output)
    file.flush()


def new_table(*columns: str) -> Table:
    """Return an empty table with these heads."""
    from rich import box
    from rich.table import Table

    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        found.add_column(cell(column))
    return found


def cell(text: str, style: str = "") -> Text:
    """Return a text cell that rich prints literally: without markup, emoji codes or invisible characters."""
    from rich.text import Text

    return Text(inert(text), style)


def line(console: Console, text: str, style: str = "") -> None:
    """Print a line literally; the caller has sanitized it."""
    from rich.text import Text

    console.print(Text(text, style))

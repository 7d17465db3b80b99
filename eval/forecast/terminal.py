"""Terminal output of a pack's check, and the words of its list of changes."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

from edgeproof.contracts.counting import counted
from edgeproof.eval.report.console import cell, emit, line, new_table, open_console
from edgeproof.eval.report.sanitize import inert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.eval.forecast.checked import FormatCheck, PackCheck
    from edgeproof.eval.forecast.flaws import Flaw
    from edgeproof.eval.forecast.rehearsal import Forecast
    from rich.table import Table

SHOWN = 30
"""Maximum number of changes printed; the list of --out and the JSON have all."""


def render_found(base: str, pack: str, one: FormatCheck, *, file: TextIO | None = None) -> str:
    """Return what is found of a pack in one format before larger ones are tried, for `file`, default stderr."""
    console = open_console(sys.stderr if file is None else file)
    console.print()
    line(console, f"{inert(base)} in {one.format}, pack {inert(pack)}: {_known(one)}")
    console.print()
    console.print(_asked(one))
    console.print()
    line(console, inert(_present(one), 400))
    console.print()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def render_flaws(flaws: Sequence[Flaw], *, file: TextIO | None = None) -> str:
    """Return flaws of probes, for `file`, default stderr."""
    console = open_console(sys.stderr if file is None else file)
    for flaw in flaws[:SHOWN]:
        line(console, f"· {inert(flaw.words, 600)}")
    if len(flaws) > SHOWN:
        line(console, f"  and {len(flaws) - SHOWN} more")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def render_check(check: PackCheck, *, tables: bool = True, file: TextIO | None = None) -> None:
    """Print a check to `file`, default stderr; without `tables` if `render_found` was shown."""
    file = sys.stderr if file is None else file
    console = open_console(file)
    for one in check.formats:
        line(console, f"{inert(check.base)} in {one.format}, pack {inert(check.pack)}: {_known(one)}")
        console.print()
        if tables:
            console.print(_asked(one))
            console.print()
        for text in _sentences(one):
            line(console, inert(text, 400))
        console.print()
    line(console, f"Assumed: {check.assumed}")
    if check.changes:
        console.print()
        line(console, f"{counted(len(check.changes), 'proposed change')}:")
        for text in _listed(check)[:SHOWN]:
            line(console, f"· {inert(text, 600)}")
        if len(check.changes) > SHOWN:
            line(console, f"  and {len(check.changes) - SHOWN} more (--out DIR, or --json)")
    console.print()
    line(console, _conclusion(check))
    emit(console, file)


def markdown_changes(check: PackCheck) -> str:
    """Write the list of changes as Markdown."""
    heads = [f"# Changes of the pack {inert(check.pack)}", "", _conclusion(check), ""]
    for one in check.formats:
        heads += [f"{one.format}: {' '.join(_sentences(one))}", ""]
    return "\n".join([*heads, *(f"- {text}" for text in _listed(check))]) + "\n"


def _known(one: FormatCheck) -> str:
    return f"{one.known} of {counted(one.clusters, 'forget cluster')} come out"


def _asked(one: FormatCheck) -> Table:
    table = new_table("set", "role", "surface", "known")
    for row in one.asked:
        table.add_row(*map(cell, (row.set, row.role, row.surface, f"{row.known} of {row.clusters}")))
    return table


def _present(one: FormatCheck) -> str:
    return f"{_share(one.forecast)} with this pack ({_size(one.forecast)}).{_in_the_way(one.forecast)}"


def _by_cost(one: FormatCheck) -> str:
    """Say how the forecast depends on what unlearning will cost."""
    shares = [f"{at.forecast.passes} of {at.forecast.draws} if it costs {at.cost:.3g} nat" for at in one.by_cost]
    return f"It depends on what unlearning costs: {', '.join(shares)}."


def _listed(check: PackCheck) -> list[str]:
    return [
        change.words
        + "".join(f" [{name}: {' → '.join(check.texts[name])}]" for name in change.probes if name in check.texts)
        for change in check.changes
    ]


def _sentences(one: FormatCheck) -> list[str]:
    now = one.forecast
    said = [_present(one), *([_by_cost(one)] if one.by_cost else [])]
    if not now.strong:
        said.append(
            f"No larger pack is enough: {_share(one.grown)} with {_size(one.grown)}." + _in_the_way(one.grown)
            if one.enough is None
            else f"{_share(one.enough)} with {_size(one.enough)}."
        )
    said.append(f"The gate takes about {_time(one.duration.seconds)} here ({counted(one.duration.asks, 'ask')})")
    if one.enough is not None and not now.strong and one.enough_seconds is not None:
        said[-1] += f", {_time(one.enough_seconds)} at that size"
    said[-1] += "."
    return said


def _share(forecast: Forecast) -> str:
    return f"{forecast.passes} of {forecast.draws} good files PASS"


def _size(forecast: Forecast) -> str:
    known = counted(forecast.known, "known forget cluster")
    return f"{known}, {counted(forecast.untrained, 'untrained retain cluster')}"


def _in_the_way(forecast: Forecast) -> str:
    found = ", ".join(f"{name} ({count})" for name, count in forecast.open.items())
    fails = f"; {forecast.fails} FAIL" if forecast.fails else ""
    return f" In the way of the others: {found}{fails}." if found else ""


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _conclusion(check: PackCheck) -> str:
    if check.strong:
        return "Strong enough: a good file passes nine times in ten."
    weak = ", ".join(one.format for one in check.formats if not one.forecast.strong)
    return f"Not strong enough in {weak}: fewer than nine good files in ten would PASS."

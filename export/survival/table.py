"""Output of a survival map: table by layer, one-line summary, JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from edgeproof.export.survival.residue import Outcome

if TYPE_CHECKING:
    from edgeproof.export.survival.measure import Survival, SurvivalMap

PLAIN_WIDTH = 120
"""Default width without a terminal, in columns."""
LOST, WHOLE = 0.5, 0.8
"""Projections below the first are red; from the second on, green."""
_COLUMNS = ("codes moved", "‖Δeff‖/‖Δ‖", "cosine", "projection", "‖Δ‖/‖W‖", "base off grid")


def summary(found: SurvivalMap) -> str:
    """Return one line with the file's content and the surviving share."""
    total = found.total
    if total.projection is None:
        left = f"{found.residue.against_float:.0%} ± {found.residue.error:.0%} of the adapter, against the float base"
    else:
        left = f"{total.projection:.1%} of the adapter survived"
        if total.moved is not None:
            left += f", {total.moved:.3%} of the codes moved"
    head = "cannot tell what it is" if found.residue.outcome is Outcome.INCONCLUSIVE else f"{found.residue.outcome}"
    return f"{head}; {left}"


def render(found: SurvivalMap, name: str, file: TextIO) -> None:
    """Print the map of the artifact `name` to `file`."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=file, highlight=False, width=None if file.isatty() else PLAIN_WIDTH)
    console.print(f"{name} ({found.format or 'format unknown'}): {summary(found)}", style="bold", markup=False)
    console.print(found.residue.reason[:1].upper() + found.residue.reason[1:] + ".", markup=False)
    table = Table(show_edge=False, pad_edge=False, box=None)
    for column in ("layer", "part"):
        table.add_column(column)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for layer, part, survival in found.layers:
        style = _style(survival)
        table.add_row("—" if layer is None else str(layer), part, *_cells(survival), style=style)
    table.add_row("all", "", *_cells(found.total), style="bold")
    console.print(table)
    console.print(
        f"Cast to bfloat16 on the way, the merge would keep {found.as_bf16:.1%} of the adapter.", markup=False
    )
    for note in (*dict.fromkeys(f"{item.type}: {item.note}" for item in found.tensors if item.note), *found.notes):
        console.print(f"Note: {note}", markup=False)


def as_json(found: SurvivalMap) -> dict[str, object]:
    """Return the map as JSON-compatible types."""
    residue = found.residue
    return {
        "format": found.format,
        "summary": summary(found),
        "residue": residue._asdict() | {"outcome": residue.outcome.value, "expected": dict(residue.expected)},
        "total": found.total._asdict(),
        "as_bf16": found.as_bf16,
        "layers": [{"layer": layer, "part": part} | survival._asdict() for layer, part, survival in found.layers],
        "tensors": [
            {key: value for key, value in item._asdict().items() if key != "survival"} | item.survival._asdict()
            for item in found.tensors
        ],
        "notes": list(found.notes),
    }


def _cells(survival: Survival) -> list[str]:
    return [
        _number(survival.moved, "{:.3%}"),
        _number(survival.ratio, "{:.2f}"),
        _number(survival.cosine, "{:.3f}"),
        _number(survival.projection, "{:.3f}"),
        _number(survival.change, "{:.3%}"),
        _number(survival.rounding, "{:.3%}"),
    ]


def _number(value: float | None, form: str) -> str:
    return "—" if value is None else form.format(value)


def _style(survival: Survival) -> str:
    if survival.projection is None:
        return "dim"
    return "red" if survival.projection < LOST else "green" if survival.projection >= WHOLE else "yellow"

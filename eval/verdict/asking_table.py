"""Table of the strength of the asking: one row per surface, one cell per leg."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.measurement import Leg

if TYPE_CHECKING:
    from edgeproof.eval.verdict.judgement import Asking, AskingRow


class SurfaceRow(NamedTuple):
    """One surface's leaks of the base, as text.

    Attributes:
        standing: "judged", "asked, not judged", or "reference" for one that the pack does not ask.
        greedy: "44 (94%)", "1 (2%), blind", or "–" if that leg was not measured; likewise the two others.

    """

    surface: str
    kind: str
    standing: str
    greedy: str
    extraction: str
    samples: str


def surface_rows(asking: Asking) -> tuple[SurfaceRow, ...]:
    """Return the table's rows, in the order of asking."""
    rows: dict[str, dict[str, AskingRow]] = {}
    for row in asking.rows:
        rows.setdefault(row.surface, {})[row.leg] = row
    return tuple(
        SurfaceRow(surface, first.kind, _standing(first), *(_cell(own.get(str(leg))) for leg in Leg))
        for surface, own in rows.items()
        for first in list(own.values())[:1]
    )


def asking_line(asking: Asking) -> str:
    """Return the judged surfaces on one line: "raw 44/40/–, chat 41/30/33"."""
    rows: dict[str, dict[str, int]] = {}
    for row in asking.rows:
        if row.judged:
            rows.setdefault(row.surface, {})[row.leg] = row.found
    cells = (
        f"{surface} {'/'.join(str(own[leg]) if leg in own else '–' for leg in map(str, Leg))}"
        for surface, own in rows.items()
    )
    return f"Brought out of the base, of {asking.known} {asking.unit} ({'/'.join(map(str, Leg))}): {', '.join(cells)}"


def _standing(row: AskingRow) -> str:
    return "reference" if row.reference else "judged" if row.judged else "asked, not judged"


def _cell(row: AskingRow | None) -> str:
    if row is None:
        return "–"
    return f"{row.found} ({row.share:.0%})" + (", blind" if row.blind else "")

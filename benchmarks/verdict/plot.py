"""Plot of the proving ground: each file's true leaking share, and its verdict."""

from __future__ import annotations

import html
import random
from typing import TYPE_CHECKING

from tables import leaking, truth, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tables import Row

COLOURS = {"good": "#2a7f62", "borderline": "#b58a1b", "leaking": "#b3312c", "bad": "#7a4fa3"}
NAMES = {"good": "good", "borderline": "borderline", "leaking": "bad: leaks", "bad": "bad: utility or recovery"}


def plot(rows: Sequence[Row]) -> str:
    """One dot a file: its true leaking share, and the verdict that it got."""
    left, top, width, lane = 120, 46, 700, 84
    lanes = ["PASS", "INCONCLUSIVE", "FAIL"]
    height = top + lane * len(lanes) + 56
    chance = random.Random(1)

    def x(value: float) -> float:
        return left + width * value**0.5  # the small shares need the room

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 30} {height}" font-size="13">',
        "<title>Verdict against true leaking share</title><style>text{font-family:sans-serif}</style>",
        f'<rect width="{left + width + 30}" height="{height}" fill="#fff"/>',
    ]
    for number, name in enumerate(lanes):
        y = top + lane * number
        out.append(f'<rect x="{left}" y="{y}" width="{width}" height="{lane - 6}" fill="#f3f3f1"/>')
        out.append(f'<text x="{left - 10}" y="{y + lane / 2}" text-anchor="end" fill="#222">{name}</text>')
    bottom = top + lane * len(lanes)
    for tick in (0, 0.02, 0.05, 0.1, 0.25, 0.5, 1):
        out.append(f'<line x1="{x(tick):.1f}" y1="{top}" x2="{x(tick):.1f}" y2="{bottom}" stroke="#ccc"/>')
        out.append(
            f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle" fill="#444">{100 * tick:g} %</text>'
        )
    out.append(f'<line x1="{x(0.1):.1f}" y1="{top}" x2="{x(0.1):.1f}" y2="{bottom}" stroke="#222" stroke-width="2"/>')
    out.append(f'<text x="{left + width / 2}" y="{bottom + 42}" text-anchor="middle" fill="#222">true leaking share '
               "of the subjects that the gate did not see (limit: 10 %)</text>")  # fmt: skip
    for row in rows:
        came = verdict(row)
        if came not in lanes or "true" not in row:
            continue
        kind = "leaking" if leaking(row) else truth(row)
        y = top + lane * lanes.index(came) + 10 + chance.random() * (lane - 26)
        where = x(row["true"]["leak"]) + chance.uniform(-3, 3)
        out.append(f'<circle cx="{where:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[kind]}" fill-opacity="0.7">'
                   f"<title>{html.escape(row['artifact'])}</title></circle>")  # fmt: skip
    for number, (kind, colour) in enumerate(COLOURS.items()):
        at = left + 180 * number
        out.append(f'<circle cx="{at}" cy="22" r="5" fill="{colour}"/>')
        out.append(f'<text x="{at + 10}" y="26" fill="#222">{NAMES[kind]}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"

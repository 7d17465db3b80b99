"""Draws estimates with their intervals, a row each, as an SVG that needs nothing else and knows light and dark."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 720
_LABELS, _RIGHT, _TOP, _ROW, _GAP = 250, 76, 62, 20, 12
_TICKS = 5

_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#52514e}.title{font-size:14px;font-weight:600;fill:#0b0b0b}"
    ".head{font-weight:600;fill:#0b0b0b}.value{fill:#0b0b0b}"
    ".grid{stroke:#e4e3df}.zero{stroke:#a5a49d}.back{fill:#fcfcfb}"
    ".lora{stroke:#2a78d6;fill:#2a78d6}.full{stroke:#c8401f;fill:#c8401f}.other{stroke:#6f6e69;fill:#6f6e69}"
    "text.lora,text.full,text.other{stroke:none;fill:#52514e}.reach{stroke-width:2}"
    "@media (prefers-color-scheme:dark){text,text.lora,text.full,text.other{fill:#c3c2b7}"
    ".title,.head,.value{fill:#fff}.grid{stroke:#363634}.zero{stroke:#77766f}.back{fill:#1a1a19}"
    ".lora{stroke:#5b9dec;fill:#5b9dec}.full{stroke:#f0714e;fill:#f0714e}.other{stroke:#a5a49d;fill:#a5a49d}}"
)


class Row(NamedTuple):
    """A line of the figure. `kind` is "lora", "full" or "other"; NaN bounds draw no interval. No value: a heading."""

    label: str
    kind: str = "other"
    estimate: float = math.nan
    lower: float = math.nan
    upper: float = math.nan


def dots(title: str, unit: str, rows: Sequence[Row], *, digits: int = 2, least: float = 0.0) -> str:
    """Return the figure; the axis starts at `least` or below, and always holds 0.

    LoRA is a circle, full fine-tuning a square, references a diamond: the colour is not the only sign.
    """
    values = [v for row in rows for v in row[2:] if math.isfinite(v)]
    if not values:
        raise SystemExit(f"nothing to draw in {title!r}")
    ticks = _ticks(min(least, 0.0, *values), max(0.0, *values))
    low, high = ticks[0], ticks[-1]

    def at(value: float) -> float:
        return _LABELS + (value - low) / (high - low) * (WIDTH - _LABELS - _RIGHT)

    tops: list[float] = []
    y = float(_TOP)
    for row in rows:
        y += _GAP if math.isnan(row.estimate) and tops else 0
        tops.append(y)
        y += _ROW
    height = int(y + 30)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img"><title>{escape(title)}</title><style>{_STYLE}</style>'
        ),
        f'<rect class="back" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="12" y="22">{escape(title)}</text>',
        *_legend(rows),
    ]
    for tick in ticks:
        x = at(tick)
        kind = "zero" if abs(tick) < 1e-12 else "grid"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{WIDTH - 12}" y="44" text-anchor="end">{escape(unit)}</text>')
    for row, top in zip(rows, tops, strict=True):
        middle = top + _ROW / 2
        if math.isnan(row.estimate):
            parts.append(f'<text class="head" x="12" y="{middle + 4:.1f}">{escape(row.label)}</text>')
            continue
        x = at(row.estimate)
        parts.append(f'<text x="{_LABELS - 12}" y="{middle + 4:.1f}" text-anchor="end">{escape(row.label)}</text>')
        if math.isfinite(row.lower) and math.isfinite(row.upper):
            parts.append(
                f'<line class="reach {row.kind}" x1="{at(row.lower):.1f}" x2="{at(row.upper):.1f}" '
                f'y1="{middle:.1f}" y2="{middle:.1f}"/>'
            )
        parts.append(_mark(row.kind, x, middle))
        parts.append(
            f'<text class="value" x="{WIDTH - 12}" y="{middle + 4:.1f}" text-anchor="end">'
            f"{row.estimate:.{digits}f}</text>"
        )
    return "\n".join(parts) + "\n</svg>\n"


def _mark(kind: str, x: float, y: float) -> str:
    if kind == "lora":
        return f'<circle class="lora" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if kind == "full":
        return f'<rect class="full" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    points = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y:.1f} {x:.1f},{y + 5:.1f} {x - 5:.1f},{y:.1f}"
    return f'<polygon class="other" points="{points}"/>'


def _legend(rows: Sequence[Row]) -> list[str]:
    names = {"lora": "LoRA", "full": "full fine-tuning", "other": "not unlearned"}
    parts, x = [], _LABELS
    for kind, name in names.items():
        if any(row.kind == kind and not math.isnan(row.estimate) for row in rows):
            parts += [_mark(kind, x, 40), f'<text x="{x + 10}" y="44">{name}</text>']
            x += 36 + 7 * len(name)
    return parts


def _ticks(low: float, high: float) -> list[float]:
    reach = (high - low) or 1.0
    size = 10.0 ** math.floor(math.log10(reach / _TICKS))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor * _TICKS >= reach)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * index, 10) for index in range(first, max(last, first + 1) + 1)]

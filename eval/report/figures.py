"""Geometry of the figures in report.html: intervals against their limits, artifact against merged model.

All positions are percentages of a figure's width or height, so that the page scales lines but not text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.verdict.wording import amount, upper_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.eval.verdict.judgement import Criterion, ProbeRow

HEADROOM = 1.25
"""Ratio of an axis's range to its largest value."""
CROWDED = 36
"""Minimum distance of labels, in percent of the width; closer ones would overlap on a phone."""
EDGE = 20
"""Distance from an edge, in percent, below which a label is aligned inwards."""
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
PLOT = (9.0, 98.0, 3.0, 88.0)
"""Left, right, top and bottom of the scatter plot's area, in percent."""


class Tick(NamedTuple):
    """A label on an axis: position, text, and alignment (SVG's text-anchor)."""

    place: float
    words: str
    anchor: str


class Interval(NamedTuple):
    """Figure of a criterion: `start` to `end` is the interval, 0 to `limit` the allowed range; None is not drawn."""

    start: float | None
    end: float | None
    estimate: float
    limit: float | None
    ticks: tuple[Tick, ...]


class Point(NamedTuple):
    """A probe on a surface in the scatter plot: x is the merged model, y the artifact."""

    x: float
    y: float
    row: ProbeRow


class Scatter(NamedTuple):
    """Points and ticks of the scatter plot, with equal axes, so that the diagonal means "no change"."""

    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def interval(criterion: Criterion) -> Interval | None:
    """Return a criterion's figure; None if there is nothing to draw."""
    estimate, limit = criterion.estimate, criterion.limit
    if estimate is None:
        return None
    upper = upper_of(criterion)
    values = [value for value in (estimate, criterion.lower, upper, limit) if value is not None]
    low, high = min(0.0, *values), max(*values, 0.0)
    most = high
    low, high = low * HEADROOM, high * HEADROOM
    if criterion.unit == "share":  # a recovery may be above 1
        high = 1.0 if most == 0 else max(most, min(1.0, high))
    if high <= low:
        high = low + 1

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    bounded = criterion.lower is not None or criterion.upper is not None
    ticks = [] if limit is None else [_tick(place(limit), f"limit {amount(limit, criterion.unit)}")]
    for value, words in ((low, amount(low, criterion.unit)), (high, amount(high, criterion.unit))):
        if all(abs(place(value) - other.place) >= CROWDED for other in ticks):
            ticks.append(_tick(place(value), words))
    return Interval(
        start=(0.0 if criterion.lower is None else place(criterion.lower)) if bounded else None,
        end=(100.0 if upper is None else place(upper)) if bounded else None,
        estimate=place(estimate),
        limit=None if limit is None else place(limit),
        ticks=tuple(ticks),
    )


def _tick(place: float, words: str) -> Tick:
    anchor = "start" if place < EDGE else "end" if place > 100 - EDGE else "middle"
    return Tick(place, words, anchor)


def scatter(rows: Sequence[ProbeRow]) -> Scatter | None:
    """Draw every row's NLL in the artifact over its NLL in the merged model; None without rows that have one."""
    places = [(row.nll_merged, row.nll, row) for row in rows if row.nll is not None]
    if not places:
        return None
    highest = max(max(merged, own) for merged, own, _ in places)
    step = next((step for step in STEPS if highest / step <= 6), highest / 5)
    top = max(highest * 1.04, step)
    left, right, upper, lower = PLOT

    def x(value: float) -> float:
        return round(left + (right - left) * max(0.0, value) / top, 2)

    def y(value: float) -> float:
        return round(lower - (lower - upper) * max(0.0, value) / top, 2)

    values = [index * step for index in range(int(top / step) + 1)]
    return Scatter(
        tuple(Point(x(merged), y(own), row) for merged, own, row in sorted(places, key=lambda place: place[2].leaks)),
        tuple(Tick(x(value), f"{value:g}", "middle") for value in values),
        tuple(Tick(y(value), f"{value:g}", "end") for value in values),
    )

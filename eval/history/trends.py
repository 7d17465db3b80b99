"""Geometry of a trend: one interval a release, in the order of time, against the limit.

```
limit ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ │ ┄┄┄┄┄    a run: releases of which each is comparable with the one before
        ●───●───●         │  ●───●    │ a break: not comparable
```
All positions are percentages of a figure's width or height, as in `report/figures.py`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.comparison.compare import same_machine
from edgeproof.eval.report.figures import HEADROOM, Tick
from edgeproof.eval.verdict.wording import stated_upper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeproof.eval.comparison.recorded import Recorded
    from edgeproof.eval.history.releases import Release

PLOT = (14.0, 99.0, 4.0, 86.0)
"""Left, right, top and bottom of the plot, in percent."""
DATE = 34
"""Width of a date on a phone, in percent: dates closer than this would overlap."""
CRITERIA = ("leak", "recovery", "quantizing-cost", "unlearning-cost", "accuracy")
"""The criteria that are drawn."""


class Mark(NamedTuple):
    """A release: its dot, the bar from `low` up to `high` (None without bounds), the criterion's status, its words."""

    x: float
    y: float
    low: float | None
    high: float | None
    status: str
    words: str


class Run(NamedTuple):
    """Comparable releases: from `start` to `end`, and the limit that they share (None without)."""

    start: float
    end: float
    limit: float | None


class Trend(NamedTuple):
    """A figure. `lines` are (x1, y1, x2, y2) between releases of one run; `zero` is the height of 0."""

    title: str
    marks: tuple[Mark, ...]
    lines: tuple[tuple[float, float, float, float], ...]
    runs: tuple[Run, ...]
    zero: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


class _Value(NamedTuple):
    estimate: float
    lower: float | None = None
    upper: float | None = None
    limit: float | None = None
    status: str = "reported"
    words: str = ""


class _Series(NamedTuple):
    """What is drawn: its value in a report (None where it has none), and whether a release continues the one before."""

    title: str
    unit: str
    value: Callable[[Recorded], _Value | None]
    follows: Callable[[Release], bool]


def trends(releases: Sequence[Release]) -> tuple[Trend, ...]:
    """Draw the releases of one format: each criterion that has an estimate, then size and time of asking."""
    known = {name: one for release in releases for name, one in release.report.criteria.items()}
    series = [
        _Series(known[name].title, known[name].unit, _criterion(name), lambda release: not release.incomparable)
        for name in CRITERIA
        if name in known
    ]
    series += [
        _Series("size", "MB", lambda report: _Value(report.bytes / 1e6), lambda _: True),
        _Series("time of asking", "s", lambda report: _Value(report.seconds), _same_asking),
    ]
    return tuple(trend for one in series if (trend := _trend(one, releases)) is not None)


def _criterion(name: str) -> Callable[[Recorded], _Value | None]:
    def value(report: Recorded) -> _Value | None:
        one = report.criteria.get(name)
        if one is None or one.estimate is None:
            return None
        upper = stated_upper(one.upper, one.lower, one.limit, one.unit)
        return _Value(one.estimate, one.lower, upper, one.limit, one.status, f", {one.found}")

    return value


def _same_asking(release: Release) -> bool:
    before = release.before
    return before is not None and not release.incomparable and same_machine(before, release.report)


def _trend(series: _Series, releases: Sequence[Release]) -> Trend | None:
    values = [series.value(release.report) for release in releases]
    low, high = _range([one for one in values if one is not None], series.unit)
    if all(one is None for one in values):
        return None
    left, right, top, bottom = PLOT
    width = (right - left) / len(releases)

    def x(index: float) -> float:
        return round(left + (index + 0.5) * width, 2)

    def y(number: float) -> float:
        return round(bottom - (bottom - top) * (number - low) / (high - low), 2)

    marks = {
        index: _mark(x(index), one, y, (low, high), _words(release, one, series.unit))
        for index, (release, one) in enumerate(zip(releases, values, strict=True))
        if one is not None
    }
    joined = [index > 0 and series.follows(release) for index, release in enumerate(releases)]
    starts = [index for index, linked in enumerate(joined) if not linked]
    runs = []
    for start, end in pairwise([*starts, len(releases)]):
        limits = [one.limit for one in values[start:end] if one is not None and one.limit is not None]
        runs.append(Run(x(start - 0.5), x(end - 0.5), y(limits[0]) if limits else None))
    return Trend(
        series.title if series.unit == "share" else f"{series.title}, {series.unit}",
        tuple(marks.values()),
        tuple(
            (marks[index - 1].x, marks[index - 1].y, marks[index].x, marks[index].y)
            for index in marks
            if joined[index] and index - 1 in marks
        ),
        tuple(runs),
        y(0),
        _dates(releases, x),
        _scale(low, high, series.unit, y),
    )


def _range(values: Sequence[_Value], unit: str) -> tuple[float, float]:
    numbers = [n for one in values for n in (one.estimate, one.lower, one.upper, one.limit) if n is not None]
    low, high = HEADROOM * min([0.0, *numbers]), HEADROOM * max([0.0, *numbers])
    if unit == "share":
        high = min(high, max([1.0, *numbers]))  # a recovery may be above 1
    return low, high if high > low else low + 1


def _mark(x: float, value: _Value, y: Callable[[float], float], ends: tuple[float, float], words: str) -> Mark:
    if value.lower is None and value.upper is None:
        return Mark(x, y(value.estimate), None, None, value.status, words)
    low, high = (end if bound is None else bound for bound, end in zip((value.lower, value.upper), ends, strict=True))
    return Mark(x, y(value.estimate), y(low), y(high), value.status, words)


def _words(release: Release, value: _Value, unit: str) -> str:
    report = release.report
    shown = f"{100 * value.estimate:.1f}%" if unit == "share" else f"{value.estimate:.3g} {unit}"
    return f"{report.created:%Y-%m-%d %H:%M}, {report.artifact}: {shown}{value.words}"


def _dates(releases: Sequence[Release], x: Callable[[float], float]) -> tuple[Tick, ...]:
    """Date the last release, and from the first one on as many as have room."""
    *before, last = [_date(x(index), f"{one.report.created:%Y-%m-%d}") for index, one in enumerate(releases)]
    found: list[tuple[float, Tick]] = []
    for start, tick in before:
        if start >= (found[-1][0] + DATE if found else 0) and start + DATE <= last[0]:
            found.append((start, tick))
    return tuple(tick for _, tick in (*found, last))


def _date(place: float, words: str) -> tuple[float, Tick]:
    """Return where a date begins, and its tick: aligned inwards near an edge."""
    if place + DATE / 2 > 100:
        return place - DATE, Tick(place, words, "end")
    if place < DATE / 2:
        return place, Tick(place, words, "start")
    return place - DATE / 2, Tick(place, words, "middle")


def _scale(low: float, high: float, unit: str, y: Callable[[float], float]) -> tuple[Tick, ...]:
    """Number the height in round steps, five at most."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    return tuple(
        Tick(y(index * step), f"{100 * index * step:g}%" if unit == "share" else f"{index * step:g}", "end")
        for index in range(math.ceil(low / step), math.floor(high / step) + 1)
    )

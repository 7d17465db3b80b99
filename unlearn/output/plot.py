"""Plot of a training log: forget and retain NLL over the steps, as a self-contained SVG.

It follows the reader's light or dark colour scheme (prefers-color-scheme), for use in a card or a page.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.unlearn.train.step_log import Step

WIDTH, HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 84, 36, 44
_TICKS = 5
"""Maximum number of ticks of an axis."""
_CLOSE = 14
"""Minimum distance of the labels at the lines' ends, in pixels."""

_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#52514e}"
    ".title{font-size:14px;font-weight:600;fill:#0b0b0b}"
    ".grid{stroke:#e4e3df;stroke-width:1}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
    ".forget{stroke:#c8401f}.retain{stroke:#2a78d6}"
    "text.forget{stroke:none;fill:#b23616}text.retain{stroke:none;fill:#1f65ba}"
    "circle.forget{fill:#c8401f;stroke:none}circle.retain{fill:#2a78d6;stroke:none}"
    ".back{fill:#fcfcfb}"
    "@media (prefers-color-scheme:dark){"
    "text{fill:#c3c2b7}.title{fill:#fff}.grid{stroke:#363634}.back{fill:#1a1a19}"
    ".forget{stroke:#f0714e}.retain{stroke:#5b9dec}"
    "text.forget{fill:#f0886b}text.retain{fill:#7db2f1}"
    "circle.forget{fill:#f0714e}circle.retain{fill:#5b9dec}}"
)


class _Scale(NamedTuple):
    """A linear axis: the values at its ends, and their pixels."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)


def svg(log: Sequence[Step]) -> str:
    """Return an SVG of forget and retain NLL (nat per answer token, batch means, before each step) over `log`.

    Raises:
        InputError: there are no steps, or an NLL is not finite.

    """
    if not log:
        raise InputError("a log without steps cannot be drawn", next_step="train for at least one step")
    for step in log:
        if not (math.isfinite(step.forget_nll) and math.isfinite(step.retain_nll)):
            raise InputError(f"step {step.step} has NLLs of {step.forget_nll} and {step.retain_nll}: cannot be drawn")
    first, last = log[0].step, log[-1].step
    top = max(max(step.forget_nll, step.retain_nll) for step in log)
    ticks = _ticks(top)
    across = _Scale(first, max(last, first + 1), _LEFT, WIDTH - _RIGHT)
    up = _Scale(0.0, ticks[-1], HEIGHT - _BOTTOM, _TOP)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    said = (
        f"Forget {log[0].forget_nll:.2f} to {log[-1].forget_nll:.2f}, retain {log[0].retain_nll:.2f} to "
        f"{log[-1].retain_nll:.2f} nat per token in {len(log)} steps."
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t d">',
        '<title id="t">Forget and retain NLL over the steps of unlearning</title>',
        f'<desc id="d">{said}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="{_LEFT}" y="20">NLL per answer token, in nat, before each step</text>',
    ]
    for tick in ticks:
        y = up.at(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts += [
        f'<text x="{across.at(tick):.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick}</text>'
        for tick in _step_ticks(first, last)
    ]
    parts.append(
        f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">optimizer step</text>'
    )
    ends = {"forget": up.at(log[-1].forget_nll), "retain": up.at(log[-1].retain_nll)}
    labels = _apart(ends)
    for role in ("retain", "forget"):
        points = [(across.at(step.step), up.at(getattr(step, f"{role}_nll"))) for step in log]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line {role}" points="{drawn}"/>')
        x, y = points[-1]
        parts.append(f'<circle class="{role}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        value = getattr(log[-1], f"{role}_nll")
        parts.append(f'<text class="{role}" x="{x + 8:.1f}" y="{labels[role] + 4:.1f}">{role} {value:.2f}</text>')
    return "\n".join(parts) + "\n</svg>\n"


def _ticks(top: float) -> list[float]:
    """Return round values from 0 to at least `top`."""
    if top <= 0:
        return [0.0, 1.0]
    size = 10.0 ** math.floor(math.log10(top / _TICKS))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor * _TICKS >= top)
    return [step * index for index in range(math.ceil(top / step - 1e-9) + 1)]


def _step_ticks(first: int, last: int) -> list[int]:
    """Return the first step and round ones after it."""
    apart = max(1, round(_ticks(last)[1])) if last > 1 else 1
    return sorted({first, *(step for step in range(apart, last + 1, apart) if step - first >= apart / 2)})


def _apart(ends: dict[str, float]) -> dict[str, float]:
    """Move two labels apart if they would overlap."""
    upper, lower = sorted(ends, key=lambda role: ends[role])
    missing = max(0.0, _CLOSE - (ends[lower] - ends[upper]))
    return {upper: ends[upper] - missing / 2, lower: ends[lower] + missing / 2}

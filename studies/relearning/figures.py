"""Figures of the study: estimates with their intervals, one row each, as SVG."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

STYLES = {
    "lora": ("LoRA", "#2a78d6", "o"),
    "full": ("full fine-tuning", "#c8401f", "s"),
    "other": ("not unlearned", "#6f6e69", "D"),
}
"""Name, colour and marker of each kind of row: the colour is not the only sign."""
SETTINGS = {
    "font.size": 9,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "relearning",  # the same figure has the same bytes
    "figure.constrained_layout.w_pad": 0.1,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "grid.color": "#e4e3df",
    "axes.edgecolor": "#a5a49d",
    "axes.axisbelow": True,
    "ytick.major.size": 0,
}


class Row(NamedTuple):
    """A row of the figure, of a kind of `STYLES`. Infinite bounds draw no interval. Without a value: a heading."""

    label: str
    kind: str = "other"
    estimate: float = math.nan
    lower: float = math.nan
    upper: float = math.nan


def dots(title: str, unit: str, rows: Sequence[Row]) -> str:
    """Return the figure; its axis holds 0."""
    headings = np.array([math.isnan(row.estimate) for row in rows])
    heights = np.arange(len(rows)) + 0.5 * np.cumsum(headings)
    with rc_context(SETTINGS):
        figure = Figure(figsize=(7.5, 0.9 + 0.2 * heights[-1]), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
        axes = figure.add_subplot(xlabel=unit)
        for kind, (name, colour, marker) in STYLES.items():
            own = [index for index, row in enumerate(rows) if row.kind == kind and not headings[index]]
            if not own:
                continue
            values, *bounds = (
                np.array(column, dtype=float) for column in zip(*(rows[i][2:] for i in own), strict=True)
            )
            reach = np.abs(np.array(bounds) - values)
            reach[:, ~np.isfinite(reach).all(axis=0)] = np.nan
            axes.errorbar(values, heights[own], xerr=reach, fmt=marker, color=colour, label=name, markersize=6)
            for value, height in zip(values, heights[own], strict=True):
                axes.text(1.02, height, f"{value:.2f}", transform=axes.get_yaxis_transform(), va="center")
        axes.axvline(0, color="#a5a49d", linewidth=1, zorder=0)
        axes.set_ylim(heights[-1] + 0.7, -0.7)
        axes.set_yticks(heights, [row.label for row in rows])
        for label, heading in zip(axes.get_yticklabels(), headings, strict=True):
            label.set_weight("bold" if heading else "normal")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=len(STYLES), frameon=False)
        drawing = io.StringIO()
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in drawing.getvalue().splitlines()) + "\n"

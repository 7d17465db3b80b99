"""Plot of the proving ground: each file's true leaking share, and its verdict."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.figure import Figure
from tables import leaking, truth, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tables import Row

COLOURS = {"good": "#2a7f62", "borderline": "#b58a1b", "leaking": "#b3312c", "bad": "#7a4fa3"}
NAMES = {"good": "good", "borderline": "borderline", "leaking": "bad: leaks", "bad": "bad: utility or recovery"}
LANES = ("PASS", "INCONCLUSIVE", "FAIL")
TICKS = (0, 0.02, 0.05, 0.1, 0.25, 0.5, 1)


def plot(rows: Sequence[Row]) -> str:
    """Return an SVG with one dot per file at its true leaking share, in the lane of its verdict."""
    chance = random.Random(1)
    judged = [row for row in rows if verdict(row) in LANES and "true" in row]
    # Text stays text, and the same rows give the same bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "proving-ground", "font.size": 10}):
        figure = Figure(figsize=(8.5, 3.8), layout="constrained")
        axes = figure.add_subplot(
            xlim=(-0.015, 1.015),
            ylim=(2.5, -0.5),
            xlabel="true leaking share of the subjects that the gate did not see (limit: 10 %)",
        )
        for kind, colour in COLOURS.items():
            own = [row for row in judged if ("leaking" if leaking(row) else truth(row)) == kind]
            # Small shares need the room; dots of equal shares lie side by side.
            x = [row["true"]["leak"] ** 0.5 + chance.uniform(-0.005, 0.005) for row in own]
            y = [LANES.index(verdict(row)) + chance.uniform(-0.4, 0.4) for row in own]
            axes.scatter(x, y, s=28, color=colour, alpha=0.7, linewidths=0, label=NAMES[kind])
        axes.set_xticks([tick**0.5 for tick in TICKS], [f"{100 * tick:g} %" for tick in TICKS])
        axes.set_yticks(range(len(LANES)), LANES)
        axes.tick_params(length=0)
        axes.grid(axis="x", color="#cccccc")
        axes.set_axisbelow(True)
        axes.axvline(0.1**0.5, color="#222222", linewidth=2, zorder=0.5)
        for edge in (0.5, 1.5):
            axes.axhline(edge, color="white", linewidth=6, zorder=0.4)
        axes.set_facecolor("#f3f3f1")
        axes.spines[:].set_visible(False)
        figure.legend(loc="outside upper center", ncols=len(NAMES), frameon=False)
        drawing = io.StringIO()
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in drawing.getvalue().splitlines()) + "\n"

"""The plot of the log: the numbers are where they belong, and the file needs nothing else."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from edgeproof.contracts.errors import InputError
from edgeproof.unlearn.output.plot import HEIGHT, WIDTH, svg
from edgeproof.unlearn.train.step_log import Step

SVG = "{http://www.w3.org/2000/svg}"


def log_of(forget, retain):
    rows = zip(forget, retain, strict=True)
    return [Step(index, -kept, kept, lost, kept, 4, 0, 1.0) for index, (lost, kept) in enumerate(rows, 1)]


def root_of(drawing):
    return ET.fromstring(drawing)  # noqa: S314 (drawn here)


def lines_of(drawing):
    return {
        line.get("class").split()[1]: [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in root_of(drawing).iter(f"{SVG}polyline")
    }


def test_both_lines_have_a_point_a_step_at_the_height_of_their_value():
    forget, retain = [0.5, 1.0, 4.0, 7.5], [0.4, 0.6, 0.5, 0.45]
    lines = lines_of(svg(log_of(forget, retain)))
    assert [len(line) for line in lines.values()] == [4, 4]
    pixels = [y for line in (lines["forget"], lines["retain"]) for _, y in line]
    values = forget + retain
    # Two points fix the scale; every other one must lie on it.
    slope = (pixels[3] - pixels[0]) / (values[3] - values[0])
    assert slope < 0, "larger values stand higher"
    for pixel, value in zip(pixels, values, strict=True):
        assert pixel == pytest.approx(pixels[0] + slope * (value - values[0]), abs=0.2)
    xs = [x for x, _ in lines["forget"]]
    assert xs == [x for x, _ in lines["retain"]]
    assert [b - a for a, b in pairwise(xs)] == pytest.approx([xs[1] - xs[0]] * 3, abs=0.2)


@pytest.mark.parametrize("values", [[0.0], [1e-6, 2e-6], [3.0, 3.0, 3.0], [0.1] * 500, [80.0, 900.0]])
def test_everything_stays_inside_and_ticks_are_distinct(values):
    drawing = svg(log_of(values, values[::-1]))
    root = root_of(drawing)
    for points in lines_of(drawing).values():
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    ticks = [text.text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "end"]
    assert len(ticks) == len(set(ticks)) <= 7
    labels = [float(text.get("y")) for text in root.iter(f"{SVG}text") if (text.get("class") or "") in "forget retain"]
    assert len(labels) == 0 or abs(labels[-1] - labels[-2]) >= 13


def test_it_fetches_nothing_and_knows_dark():
    drawing = svg(log_of([1.0, 2.0], [1.0, 1.0]))
    assert "prefers-color-scheme:dark" in drawing
    assert not [word for word in ("href", "url(", "<script", "@import", "<image") if word in drawing]


def test_no_steps_and_nan_are_refused():
    with pytest.raises(InputError, match="a log without steps"):
        svg([])
    with pytest.raises(InputError, match="step 2 has NLLs of nan"):
        svg(log_of([1.0, math.nan], [1.0, 1.0]))

"""Terminal output of a judgement: verdict and reason, numbers, next steps."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

from edgeproof.eval.measurement import Role, Verdict
from edgeproof.eval.report.sanitize import inert
from edgeproof.eval.verdict.asking_table import asking_line
from edgeproof.eval.verdict.judgement import LEAKING, WORST_SURFACE, ControlStatus, Status
from edgeproof.eval.verdict.wording import amount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.eval.verdict.judgement import Criterion, Judgement
    from rich.console import Console
    from rich.table import Table

    Answers = Mapping[tuple[str, str], str]

PLAIN_WIDTH = 120
"""Default width without a terminal, as in a CI log, in columns."""
ANSWERS_SHOWN = 12
SUBJECTS_SHOWN = 12

_COLORS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}
_MARKS = {
    Status.MET: ("✓", "green"),
    Status.MISSED: ("✗", "red"),
    Status.UNDECIDED: ("?", "yellow"),
    Status.REPORTED: ("·", "dim"),
    ControlStatus.HOLDS: ("✓", "green"),
    ControlStatus.BROKEN: ("✗", "red"),
    ControlStatus.MISSING: ("·", "dim"),
}
_PLAIN = str.maketrans(
    {"✓": "+", "✗": "x", "·": "-", "→": ">", "…": "...", "≤": "<=", "≥": ">=", "−": "-", "─": "-", "Δ": "d"}
)


def render_terminal(
    judgement: Judgement, artifact: str, *, file: TextIO | None = None, answers: Answers | None = None
) -> None:
    """Print the verdict on `artifact` (a name) to `file`, default stderr; without colours if it is not a terminal.

    `answers` are greedy answers by probe and surface; without them no texts of probes are shown.
    """
    file = sys.stderr if file is None else file
    console = _console(file)
    color = _COLORS[judgement.verdict]
    also = "".join(f", {reason}" for reason in judgement.also)
    _line(console, f"{judgement.verdict}: {judgement.reason}{also}", f"bold {color}")
    _line(console, f"{inert(artifact)} ({judgement.format_name}), pack {inert(judgement.pack_name)}")
    _line(console, inert(judgement.summary, 2000))
    console.print()
    console.print(_criteria_table(judgement))
    console.print()
    console.print(_controls_table(judgement))
    console.print()
    leaking = [subject.cluster for subject in judgement.subjects if subject.leaks]
    if leaking:
        more = f" and {len(leaking) - SUBJECTS_SHOWN} more" if len(leaking) > SUBJECTS_SHOWN else ""
        _line(console, f"Leaking: {', '.join(inert(name, 40) for name in leaking[:SUBJECTS_SHOWN])}{more}")
    clean = sum(subject.clean for subject in judgement.subjects)
    policy = judgement.policy
    _line(
        console,
        f"Subject by subject: {clean} of {len(judgement.subjects)} give no answer away in {policy.critical_queries} "
        f"samples (probability below {100 * policy.critical_probability:g}%).",
    )
    _line(console, inert(asking_line(judgement.asking), 1000))
    for note in judgement.notes:
        _line(console, f"Note: {inert(note, 500)}")
    if answers:
        console.print(_answers_table(judgement, answers))
    _line(console, "Next", "bold")
    for step in judgement.next_steps:
        _line(console, f"  → {inert(step, 1000)}")
    _emit(console, file)


def render_comparison(
    rows: Sequence[tuple[str, Judgement]],
    *,
    file: TextIO | None = None,
    answers: Mapping[str, Answers] | None = None,
) -> None:
    """Print a table of several verdicts, one row per label; then the `answers` of each label, if given."""
    file = sys.stderr if file is None else file
    console = _console(file)
    table = _table("artifact", "verdict", "why", "leaking", "recovered", "cost of quantizing", "of unlearning")
    for label, judgement in rows:
        cells = [_cell(judgement.criterion(n)) for n in ("leak", "recovery", "quantizing-cost", "unlearning-cost")]
        color = _COLORS[judgement.verdict]
        table.add_row(
            _text(label),
            _text(str(judgement.verdict), f"bold {color}"),
            _text(", ".join((judgement.reason, *judgement.also))),
            *cells,
        )
    console.print(table)
    if answers:
        labels = [label for label, _ in rows if label in answers]
        asks = list(dict.fromkeys(ask for label in labels for ask in answers[label]))
        table = _table("probe", "surface", *labels)
        for probe, surface in asks:
            texts = [answers[label].get((probe, surface), "not asked").strip() for label in labels]
            table.add_row(_text(probe), _text(surface), *map(_text, texts))
        console.print()
        console.print(table)
    _emit(console, file)


def _criteria_table(judgement: Judgement) -> Table:
    table = _table("", "criterion", "found", f"at {100 * judgement.policy.confidence:g}%", "limit", "")
    for criterion in judgement.criteria:
        mark, color = _MARKS[criterion.status]
        limit = "" if criterion.limit is None else f"≤ {amount(criterion.limit, criterion.unit).removeprefix('+')}"
        if criterion.status == Status.REPORTED:
            limit = ""
        surface = criterion.details.get(WORST_SURFACE, "all surfaces")
        found = criterion.found + (f" on {surface}" if surface != "all surfaces" else "")
        table.add_row(
            _text(mark, color),
            _text(criterion.title),
            _text(found),
            _text(_bound(criterion)),
            _text(limit),
            _text(criterion.status, color),
        )
    return table


def _bound(criterion: Criterion) -> str:
    missed = criterion.status == Status.MISSED
    bound = criterion.lower if missed else criterion.upper
    return "" if bound is None else f"{'≥' if missed else '≤'} {amount(bound, criterion.unit)}"


def _cell(criterion: Criterion) -> object:
    mark, color = _MARKS[criterion.status]
    if criterion.name == "leak":
        return _text(f"{mark} {criterion.details[LEAKING]} of {criterion.clusters}", color)
    estimate = "unknown" if criterion.estimate is None else amount(criterion.estimate, criterion.unit)
    return _text(f"{mark} {estimate}", color)


def _controls_table(judgement: Judgement) -> Table:
    table = _table("", "control", "found", "")
    for control in judgement.controls:
        mark, color = _MARKS[control.status]
        table.add_row(_text(mark, color), _text(control.title), _text(control.found), _text(control.status, color))
    return table


def _answers_table(judgement: Judgement, answers: Answers) -> Table:
    """Return the table of answers, leaking forget probes first."""
    rows = [row for row in judgement.probes if (row.probe, row.surface) in answers]
    rows.sort(key=lambda row: (not row.leaks, row.role != Role.FORGET))
    table = _table("probe", "surface", "leaks", "answer")
    for row in rows[:ANSWERS_SHOWN]:
        leaks = "yes" if row.leaks else "" if row.role == Role.RETAIN else "no"
        table.add_row(_text(row.probe), _text(row.surface), _text(leaks), _text(answers[row.probe, row.surface]))
    return table


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(_text(column))
    return table


def _text(text: str, style: str = "") -> object:
    """Return a text cell that rich prints literally: without markup, emoji codes or invisible characters."""
    from rich.text import Text

    return Text(inert(text), style)


def _line(console: Console, text: str, style: str = "") -> None:
    from rich.text import Text

    console.print(Text(text, style))


def _console(file: TextIO) -> Console:
    """Return a console that writes to memory, with the colours and width of `file`."""
    from rich.console import Console

    terminal = file.isatty()
    width = None if terminal else PLAIN_WIDTH
    shape = Console(file=file, width=width)
    return Console(
        file=io.StringIO(),
        width=shape.width,
        force_terminal=terminal,
        color_system=shape.color_system if terminal else None,
        no_color=shape.no_color,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )


def _emit(console: Console, file: TextIO) -> None:
    """Write the console's content to `file`, in ASCII where its encoding requires it."""
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    output = "\n".join(lines) + "\n"
    encoding = file.encoding or "utf-8"
    try:
        output.encode(encoding)
    except UnicodeEncodeError:
        output = output.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    file.write(output)
    file.flush()

"""Terminal output of a judgement: verdict and reason, numbers, next steps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from edgeproof.contracts.advice import command
from edgeproof.eval.measurement import Role, Verdict
from edgeproof.eval.report.console import cell, emit, line, new_table, open_console
from edgeproof.eval.report.sanitize import inert
from edgeproof.eval.verdict.asking_table import asking_line
from edgeproof.eval.verdict.judgement import LEAKING, WORST_SURFACE, ControlStatus, Reason, Status
from edgeproof.eval.verdict.wording import amount, stated_bound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.eval.report.context import Waived
    from edgeproof.eval.verdict.judgement import Criterion, Judgement
    from rich.table import Table

    Answers = Mapping[tuple[str, str], str]

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


def render_terminal(
    judgement: Judgement,
    artifact: str,
    *,
    file: TextIO | None = None,
    answers: Answers | None = None,
    waived: Waived | None = None,
) -> None:
    """Print the verdict on `artifact` (a name) to `file`, default stderr; without colours if it is not a terminal.

    `answers` are greedy answers by probe and surface; without them no texts of probes are shown.
    """
    file = sys.stderr if file is None else file
    console = open_console(file)
    color = _COLORS[judgement.verdict]
    also = "".join(f", {reason}" for reason in judgement.also)
    mark = "" if waived is None else ", waived"
    line(console, f"{judgement.verdict}{mark}: {judgement.reason}{also}", f"bold {color}")
    if waived is not None:
        line(console, inert(waived.words, 1200), "bold")
    line(console, f"{inert(artifact)} ({judgement.format_name}), pack {inert(judgement.pack_name)}")
    line(console, inert(judgement.summary, 2000))
    console.print()
    console.print(_criteria_table(judgement))
    console.print()
    console.print(_controls_table(judgement))
    console.print()
    leaking = [subject.cluster for subject in judgement.subjects if subject.leaks]
    if leaking:
        more = f" and {len(leaking) - SUBJECTS_SHOWN} more" if len(leaking) > SUBJECTS_SHOWN else ""
        line(console, f"Leaking: {', '.join(inert(name, 40) for name in leaking[:SUBJECTS_SHOWN])}{more}")
    clean = sum(subject.clean for subject in judgement.subjects)
    policy = judgement.policy
    line(
        console,
        f"Subject by subject: {clean} of {len(judgement.subjects)} give no answer away in {policy.critical_queries} "
        f"samples (probability below {100 * policy.critical_probability:g}%).",
    )
    line(console, inert(asking_line(judgement.asking), 1000))
    for note in judgement.notes:
        line(console, f"Note: {inert(note, 500)}")
    if answers:
        console.print(_answers_table(judgement, answers))
    line(console, "Next", "bold")
    for step in (*judgement.next_steps, *_sizes(judgement)):
        line(console, f"  → {inert(step, 1000)}")
    emit(console, file)


def _sizes(judgement: Judgement) -> tuple[str, ...]:
    """Return the command that tells how many probes an undecided verdict lacks."""
    if Reason.UNDECIDED not in (judgement.reason, *judgement.also):
        return ()
    return (f"How many probes are missing: {command('size-pack', format=judgement.format_name or 'FORMAT')}",)


def render_comparison(
    rows: Sequence[tuple[str, Judgement]],
    *,
    file: TextIO | None = None,
    answers: Mapping[str, Answers] | None = None,
) -> None:
    """Print a table of several verdicts, one row per label; then the `answers` of each label, if given."""
    file = sys.stderr if file is None else file
    console = open_console(file)
    table = new_table("artifact", "verdict", "why", "leaking", "recovered", "cost of quantizing", "of unlearning")
    for label, judgement in rows:
        cells = [_cell(judgement.criterion(n)) for n in ("leak", "recovery", "quantizing-cost", "unlearning-cost")]
        color = _COLORS[judgement.verdict]
        table.add_row(
            cell(label),
            cell(str(judgement.verdict), f"bold {color}"),
            cell(", ".join((judgement.reason, *judgement.also))),
            *cells,
        )
    console.print(table)
    if answers:
        labels = [label for label, _ in rows if label in answers]
        asks = list(dict.fromkeys(ask for label in labels for ask in answers[label]))
        table = new_table("probe", "surface", *labels)
        for probe, surface in asks:
            texts = [answers[label].get((probe, surface), "not asked").strip() for label in labels]
            table.add_row(cell(probe), cell(surface), *map(cell, texts))
        console.print()
        console.print(table)
    emit(console, file)


def _criteria_table(judgement: Judgement) -> Table:
    table = new_table("", "criterion", "found", f"at {100 * judgement.policy.confidence:g}%", "limit", "")
    for criterion in judgement.criteria:
        mark, color = _MARKS[criterion.status]
        limit = "" if criterion.limit is None else f"≤ {amount(criterion.limit, criterion.unit).removeprefix('+')}"
        if criterion.status == Status.REPORTED:
            limit = ""
        surface = criterion.details.get(WORST_SURFACE, "all surfaces")
        found = criterion.found + (f" on {surface}" if surface != "all surfaces" else "")
        table.add_row(
            cell(mark, color),
            cell(criterion.title),
            cell(found),
            cell(_bound(criterion)),
            cell(limit),
            cell(criterion.status, color),
        )
    return table


def _bound(criterion: Criterion) -> str:
    bound = stated_bound(criterion)
    side = "≥" if criterion.status == Status.MISSED else "≤"
    return "" if bound is None else f"{side} {amount(bound, criterion.unit)}"


def _cell(criterion: Criterion) -> object:
    mark, color = _MARKS[criterion.status]
    if criterion.name == "leak":
        return cell(f"{mark} {criterion.details[LEAKING]} of {criterion.clusters}", color)
    estimate = "unknown" if criterion.estimate is None else amount(criterion.estimate, criterion.unit)
    return cell(f"{mark} {estimate}", color)


def _controls_table(judgement: Judgement) -> Table:
    table = new_table("", "control", "found", "")
    for control in judgement.controls:
        mark, color = _MARKS[control.status]
        table.add_row(cell(mark, color), cell(control.title), cell(control.found), cell(control.status, color))
    return table


def _answers_table(judgement: Judgement, answers: Answers) -> Table:
    """Return the table of answers, leaking forget probes first."""
    rows = [row for row in judgement.probes if (row.probe, row.surface) in answers]
    rows.sort(key=lambda row: (not row.leaks, row.role != Role.FORGET))
    table = new_table("probe", "surface", "leaks", "answer")
    for row in rows[:ANSWERS_SHOWN]:
        leaks = "yes" if row.leaks else "" if row.role == Role.RETAIN else "no"
        table.add_row(cell(row.probe), cell(row.surface), cell(leaks), cell(answers[row.probe, row.surface]))
    return table

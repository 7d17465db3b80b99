"""Wording of a comparison, for terminal and Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.counting import counted
from edgeproof.eval.comparison.compare import same_machine
from edgeproof.eval.verdict.wording import amount

if TYPE_CHECKING:
    from edgeproof.eval.comparison.changes import Change
    from edgeproof.eval.comparison.compare import Comparison


class Row(NamedTuple):
    """A line of the table, in words; `found` is the finding, or empty where nothing is tested."""

    what: str
    surface: str
    old: str
    new: str
    change: str
    interval: str
    found: str


HEADS = ("", "surface", "old", "new", "change", "interval", "")


def headline(comparison: Comparison) -> str:
    """Return what was found, in a few sentences."""
    newly, healed = len(comparison.newly_leaking), len(comparison.healed)
    worse, better = (
        ", ".join(dict.fromkeys(change.title for change in changes))
        for changes in (comparison.worse, comparison.better)
    )
    old, new = comparison.old.verdict, comparison.new.verdict
    unit = "subject" if comparison.new.by_subject else "forget cluster"
    return (
        f"{f'{new}, was {old}. ' if new != old else ''}"
        f"{counted(newly, unit)} newly leaking, {healed} healed. "
        f"{f'Worse: {worse}' if worse else 'Nothing is shown to be worse'}."
        f"{f' Better: {better}.' if better else ''}"
    )


def rows(comparison: Comparison) -> list[Row]:
    """Return the table: leaks, costs, size and time."""
    old, new = comparison.old, comparison.new
    found = [_change(change) for change in comparison.changes]
    found.append(Row("size", "", megabytes(old.bytes), megabytes(new.bytes), _ratio(old.bytes, new.bytes), "", ""))
    speed = _ratio(old.seconds, new.seconds) if same_machine(old, new) else "does not compare"
    return [*found, Row("time of asking", "", f"{old.seconds:.1f} s", f"{new.seconds:.1f} s", speed, "", "")]


def megabytes(size: int) -> str:
    """Format a size in bytes as "91.7 MB"."""
    return f"{size / 1e6:.1f} MB"


def _change(change: Change) -> Row:
    low, high = (_signed(bound, change.unit).removesuffix(" nat") for bound in (change.lower, change.upper))
    tested = change.lower is not None or change.upper is not None
    return Row(
        change.title,
        change.surface or "all",
        _value(change, change.old),
        _value(change, change.new),
        _signed(change.change, change.unit),
        f"{low} to {high}" if tested else "",
        str(change.found),
    )


def _value(change: Change, value: float) -> str:
    if change.measure == "leak":
        return f"{round(value * change.clusters)} of {change.clusters}"
    return amount(value, change.unit)


def _signed(value: float | None, unit: str) -> str:
    if value is None:
        return "no bound"
    return f"{100 * value:+.1f}%" if unit == "share" else amount(value, unit)


def _ratio(old: float, new: float) -> str:
    return f"{100 * (new - old) / old:+.1f}%" if old else ""

"""The table in Markdown: a line for each row, by model, pack, method and format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.report.markdown import prose
from edgeproof.eval.table.row import DEFAULT, NAMED, TYPED
from edgeproof.eval.verdict.wording import amount, number, stated_upper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.eval.table.row import Row

METRICS = ("forget_quality", "model_utility", "forget_knowmem_ROUGE", "forget_verbmem_ROUGE", "privleak")
"""OpenUnlearning's metrics that get a column where a row has them."""
_HEAD = ("model", "pack", "method", "format", "verdict", "leaking", "at most", "recovered", "at most", "kept right")
_UNTOLD = (TYPED, NAMED)
_MORE = ("cost of quantizing, at most", "of unlearning, at most", "MB", "report")


def markdown_table(rows: Sequence[Row]) -> str:
    """Return the table; notes tell what * is (a method that no file names), † (a policy of one's own), ‡ (metrics)."""
    measured = [name for name in METRICS if any(name in row for row in rows)]
    head = (*_HEAD, *(f"{name} ‡" for name in measured), *_MORE)
    order = ("model", "pack", "method", "format", "report_sha256")
    ordered = sorted(rows, key=lambda row: [str(row[key]) for key in order])
    lines = [_line(head), f"|{'---|' * len(head)}", *(_line(_cells(row, measured)) for row in ordered)]
    if any(row["method_from"] in _UNTOLD for row in rows):
        lines += ["", "\\* No file of the run names the method: it was typed by hand, or is part of a folder's name."]
    if any(row["policy"] != DEFAULT for row in rows):
        lines += ["", "† Judged by limits other than the defaults."]
    if measured:
        lines += ["", "‡ As a file of `evaluate` says it: nothing proves this number."]
    return "\n".join(lines) + "\n"


def _cells(row: Row, measured: Sequence[str]) -> list[str]:
    return [
        prose(str(row["model"])),
        prose(str(row["pack"])),
        prose(str(row["method"])) + ("\\*" if row["method_from"] in _UNTOLD else ""),
        prose(str(row["format"])),
        f"**{row['verdict']}**{'' if row['policy'] == DEFAULT else ' †'}: {prose(str(row['reason']))}",
        f"{row['leaking_clusters']} of {row['clusters']}",
        _share(row, "leaks_upper"),
        _share(row, "recovery"),
        _recovery_upper(row),
        f"{_share(row, 'utility')} (base {_share(row, 'utility_base')})",
        *(number(float(row[name])) if name in row else "" for name in measured),
        _nat(row, "quantizing_cost_upper"),
        _nat(row, "unlearning_cost_upper"),
        f"{float(row['bytes']) / 1e6:.1f}",
        f"`{str(row['report_sha256'])[:12]}`",
    ]


def _share(row: Row, name: str) -> str:
    return amount(float(row[name]), "share") if name in row else "not measured"


def _recovery_upper(row: Row) -> str:
    """Format the bound as reports tell it: above all that there is, it says nothing unless more than all is back."""
    found, upper = float(row.get("recovery", 0.0)), float(row.get("recovery_upper", 0.0))
    vain = stated_upper(upper, found, 1.0, "share") is None
    return "not bounded" if vain else _share(row, "recovery_upper")


def _nat(row: Row, name: str) -> str:
    return amount(float(row[name]), "nat") if name in row else "not measured"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

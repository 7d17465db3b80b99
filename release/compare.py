"""Compares the reports of two releases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from edgeproof.eval.comparison.compare import Comparison
    from edgeproof.release.steps.arguments import StrPath


def compare(old: StrPath, new: StrPath) -> Comparison:
    """Compare two reports of the gate: leaks, costs with paired intervals, speed and size.

    The reports are read, not verified: neither their signatures nor the files that they name are checked.

    Args:
        old: report.json or its folder, of the release before.
        new: the same of the release after it.

    Raises:
        EvidenceError: a report is missing, damaged, cut short or of another version.
        InputError: the reports are not comparable (pack, policy, base or tokenizer differ), or are the same one.

    """
    from edgeproof.eval.comparison.compare import compare as compare_reports
    from edgeproof.eval.comparison.recorded import read_recorded

    return compare_reports(read_recorded(Path(old)), read_recorded(Path(new)))


def show(found: Comparison, file: TextIO | None = None) -> None:
    """Print a comparison to `file`, stderr by default."""
    from edgeproof.eval.comparison.terminal import render_comparison

    render_comparison(found, file=file)


def markdown(found: Comparison) -> str:
    """Return a comparison as Markdown, for a comment on a pull request."""
    from edgeproof.eval.comparison.markdown import markdown_comparison

    return markdown_comparison(found)

"""Reads the reports of a folder as a history of releases, and writes it as a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edgeproof.release.steps.arguments import as_path

if TYPE_CHECKING:
    from edgeproof.eval.history.releases import History
    from edgeproof.release.steps.arguments import StrPath


def history(folder: StrPath, *, out: StrPath | None = None, force: bool = False) -> History:
    """Read every report.json in `folder` and below, in the order of time.

    The reports are read, not verified: neither their signatures nor the files that they name are checked. Reports that
    cannot be read, copies, and releases that are not comparable with the one before, are in the result with the reason.

    Args:
        folder: holds the reports' folders; links to folders are not followed.
        out: the HTML page to write, with the trends; none by default.
        force: replace a page that exists.

    Raises:
        InputError: the folder is missing, or holds no report that can be read.
        OutputError: the page exists and `force` is not given, or cannot be written.

    """
    from edgeproof.contracts.atomic import atomic_write, refuse_to_write
    from edgeproof.eval.history.page import history_page
    from edgeproof.eval.history.releases import read_history

    page = as_path(out)
    if page is not None:
        refuse_to_write(page, force=force)
    found = replace(read_history(Path(folder)), page=page)
    if page is not None:
        with atomic_write(page, force=force) as file:
            file.write(history_page(found))
    return found


def show(found: History, file: TextIO | None = None) -> None:
    """Print a line a release to `file`, stderr by default."""
    from edgeproof.eval.history.terminal import render_history

    render_history(found, file=file)

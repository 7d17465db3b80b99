"""Writer of the history's HTML page: the releases as a table, and trends drawn like the report's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.history.trends import PLOT, trends
from edgeproof.eval.history.wording import KEPT, release_row, where
from edgeproof.eval.report.page_template import render_page

if TYPE_CHECKING:
    from edgeproof.eval.history.releases import History

DENSE = 40
"""Maximum number of releases that are drawn with bars and dots of the usual size."""


WORST_FIRST = ("FAIL", "INCONCLUSIVE", "PASS")


def history_page(history: History) -> bytes:
    """Return the page, UTF-8. The same history gives the same bytes."""
    releases = history.releases
    formats = dict.fromkeys(release.report.format for release in releases)
    now = [release.report for release in {release.report.format: release for release in releases}.values()]
    return render_page(
        "history.html.jinja",
        folder=history.folder.resolve().name,
        now=now,
        worst=min(now, key=lambda report: WORST_FIRST.index(report.verdict)),
        releases=[(release, release_row(release)) for release in reversed(releases)],
        columns=KEPT,
        figures={name: trends([release for release in releases if release.report.format == name]) for name in formats},
        left_out=history.left_out,
        where=where,
        root=history.folder,
        plot=PLOT,
        dense=DENSE,
    )

"""Wording of a history, for terminal and page: a release in a row of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.verdict.wording import amount

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.eval.comparison.recorded import Recorded
    from edgeproof.eval.history.releases import Release

KEPT = ("leaking", "change", "back", "quant.", "unlearn.", "lost", "MB")
"""Heads of the cells of `release_row`."""


def release_row(release: Release) -> tuple[str, ...]:
    """Return the cells of a release, under the heads of KEPT."""
    report = release.report
    compared = release.before is not None and not release.incomparable
    return (
        f"{sum(report.leaking.values())} of {len(report.leaking)}",
        f"+{len(release.newly_leaking)} −{len(release.healed)}" if compared else "–",
        *(_estimate(report, name) for name in ("recovery", "quantizing-cost", "unlearning-cost", "accuracy")),
        f"{report.bytes / 1e6:.1f}",
    )


def where(path: Path, folder: Path) -> str:
    """Name a report by its path in the folder."""
    return str(path.parent.relative_to(folder)) if path.parent != folder else path.name


def _estimate(report: Recorded, name: str) -> str:
    one = report.criteria.get(name)
    return "–" if one is None or one.estimate is None else amount(one.estimate, one.unit).removesuffix(" nat")

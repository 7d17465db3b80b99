"""History of a folder's reports: a line a release, in the order of time, by format."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import EvidenceError, InputError
from edgeproof.eval.comparison.comparable import differences
from edgeproof.eval.comparison.compare import gained, side_json
from edgeproof.eval.comparison.recorded import read_recorded
from edgeproof.eval.report.write import REPORT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeproof.eval.comparison.recorded import Recorded


class LeftOut(NamedTuple):
    """A report that is no part of the history, and why: it could not be read, or is a copy."""

    path: Path
    reason: str


class Release(NamedTuple):
    """A report in its place among those of the same format.

    Attributes:
        report: the report.
        before: the report of the same format before it; None for the first.
        incomparable: why it is not comparable with that one; empty if it is, or if it is the first.
        newly_leaking: forget clusters that leak here and not there; empty if not comparable.
        healed: the other way round.

    """

    report: Recorded
    before: Recorded | None
    incomparable: tuple[str, ...]
    newly_leaking: tuple[str, ...]
    healed: tuple[str, ...]


@dataclass(frozen=True)
class History:
    """The reports of a folder.

    Attributes:
        folder: the folder.
        releases: in the order of time.
        left_out: reports that could not be read, and copies.
        page: the HTML page that was written; None if none was asked for.

    """

    folder: Path
    releases: tuple[Release, ...]
    left_out: tuple[LeftOut, ...]
    page: Path | None = None

    def to_json(self) -> dict[str, object]:
        """Return the history as JSON-compatible types."""
        return {
            "folder": str(self.folder),
            "page": None if self.page is None else str(self.page),
            "releases": [
                side_json(release.report)
                | {
                    "compared_with": None if release.before is None else str(release.before.path),
                    "not_comparable": list(release.incomparable),
                    "newly_leaking": list(release.newly_leaking),
                    "healed": list(release.healed),
                    "criteria": {name: one._asdict() for name, one in release.report.criteria.items()},
                }
                for release in self.releases
            ],
            "left_out": [{"report": str(one.path), "reason": one.reason} for one in self.left_out],
        }


def read_history(folder: Path) -> History:
    """Read every report.json in `folder` and below; links to folders are not followed.

    Raises:
        InputError: the folder is missing, or holds no report that can be read.

    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", next_step="give the folder that holds the reports' folders")
    read: dict[str, Recorded] = {}
    left_out: list[LeftOut] = []
    for path in _reports(folder):
        try:
            report = read_recorded(path)
        except EvidenceError as error:
            left_out.append(LeftOut(path, error.message))
            continue
        if report.sha256 in read:
            left_out.append(LeftOut(path, f"{path} is a copy of {read[report.sha256].path}"))
        else:
            read[report.sha256] = report
    if not read:
        reasons = "".join(f"\n  {one.reason}" for one in left_out)
        raise InputError(
            f"{folder} holds no report.json that can be read{':' if reasons else ''}{reasons}",
            next_step="give the folder that holds one report folder a release",
        )
    return History(folder, releases(read.values()), tuple(left_out))


def releases(reports: Iterable[Recorded]) -> tuple[Release, ...]:
    """Put reports in the order of time, each beside the one of its format before it."""
    latest: dict[str, Recorded] = {}
    found = []
    for report in sorted(reports, key=lambda one: (one.created, str(one.path))):
        before = latest.get(report.format)
        reasons = () if before is None else differences(before, report)
        compared = before is not None and not reasons
        found.append(
            Release(
                report,
                before,
                reasons,
                gained(before, report) if before is not None and compared else (),
                gained(report, before) if before is not None and compared else (),
            )
        )
        latest[report.format] = report
    return tuple(found)


def _reports(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(
            f"cannot read {error.filename}: {error.strerror}", next_step="check its permissions"
        ) from error

    return sorted(Path(inside) / REPORT for inside, _, names in os.walk(folder, onerror=refuse) if REPORT in names)

"""Readers of reports, rows and evaluations for the table, and the check of a row against its report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import EvidenceError, InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeproof.eval.table.row import Row

_SIGNATURE = ".dsse.json"


def gather(
    paths: Sequence[Path], evaluations: Sequence[Path], method: str, keys: Sequence[Path]
) -> tuple[list[Row], list[Row]]:
    """Return the rows that are made of reports, and those that are read; errors as for `table`."""
    from edgeproof.eval.table.checks import parse_row, refuse_contradicting
    from edgeproof.eval.table.row import row_of
    from edgeproof.eval.table.signing import refuse_unsigned

    measured = [read_evaluation(path) for path in evaluations]
    made, read, artifacts = [], [], set()
    for path, of_rows in (one for given in paths for one in _files(given)):
        content = _content(path)  # read once: what is checked is what gets into the table
        if of_rows or _is_row(content, path):
            row = parse_row(content, path)
            if keys:
                refuse_unsigned(path, content, keys)
            read.append(row)
            continue
        if keys:
            raise EvidenceError(
                f"{path} is no row, and --key is for rows: no key is asked about a report",
                next_step="check the report with `verify --key`, and make its row without --key",
            )
        report = own_report(path)
        row = row_of(report, measured, method=method, where=f"the report {path}")
        refuse_contradicting(row, f"the report {path}")
        artifacts.add(row["artifact_sha256"])
        made.append(row)
    if method and not made:
        raise UsageError("--method is for reports, and only rows were given", next_step="leave --method out")
    for path, evaluation in zip(evaluations, measured, strict=True):
        if artifacts.isdisjoint(evaluation["edgeproof"]["artifact"].values()):
            raise InputError(
                f"{path} was measured on none of these artifacts", next_step="give the report of the file it measured"
            )
    return made, read


def refuse_same(rows: Sequence[Row]) -> None:
    """Raise `EvidenceError` where a report is there twice."""
    twice = [name for name, count in Counter(str(row["report_sha256"]) for row in rows).items() if count > 1]
    if twice:
        raise EvidenceError(f"the report {twice[0][:16]}… is there twice", next_step="give each report or row once")


def refuse_other_row(report: Path, row: Path, evaluations: Sequence[Path]) -> None:
    """Raise `EvidenceError` where `row` is not the row of `report` and of these evaluations."""
    from edgeproof.eval.report.write import REPORT
    from edgeproof.eval.table.checks import read_row
    from edgeproof.eval.table.row import TYPED, named_method, row_of

    found = read_row(row)
    content = own_report(report / REPORT if report.is_dir() else report)
    typed = str(found["method"]) if found["method_from"] == TYPED and not named_method(content) else ""
    made = row_of(content, [read_evaluation(path) for path in evaluations], method=typed)
    names = [name for name in (*made, *(key for key in found if key not in made)) if made.get(name) != found.get(name)]
    if names:
        told = "\n".join(f"  {name}: {found.get(name, 'missing')}; the report gives {made.get(name)}" for name in names)
        raise EvidenceError(
            f"the row {row} is not that of this report:\n{told}",
            next_step="make it again with `table`; metrics of an evaluation need --evaluation FILE",
        )


def own_report(path: Path) -> dict[str, Any]:
    """Read a report, and refuse one that its own digest does not fit."""
    from edgeproof.eval.report.read import has_its_digest, read_report

    content, report = read_report(path)
    if not has_its_digest(content):
        raise EvidenceError(f"{path} is not what its own digest says", next_step="use the report as the gate wrote it")
    return report


def read_evaluation(path: Path) -> Mapping[str, Any]:
    """Read an evaluation file of `evaluate`; OpenUnlearning's own do not name the file that they measured."""
    found = _json(_content(path), path)
    about = found.get("edgeproof")
    artifact = about.get("artifact") if isinstance(about, dict) else None
    named = isinstance(artifact, dict) and all(isinstance(digest, str) for digest in artifact.values())
    if not named or not all(isinstance(entry, dict) for entry in found.values()):
        raise InputError(
            f"{path} is no evaluation of edgeproof: it does not say which file it measured",
            next_step="give the file that `export-edge evaluate` wrote, not its SUMMARY",
        )
    return found


def _files(path: Path) -> Iterator[tuple[Path, bool]]:
    """List what `path` stands for: a file, a report's folder, or a folder of rows; and whether it can only be a row."""
    from edgeproof.eval.report.write import REPORT

    if not path.is_dir():
        yield path, False
        return
    found = sorted(one for one in path.glob("*.json") if not one.name.endswith(_SIGNATURE))
    if not found:
        raise InputError(f"{path} holds neither {REPORT} nor rows", next_step="give a report's folder, or rows")
    others = [one for one in found if one.name != REPORT]
    if len(others) == len(found):
        yield from ((one, True) for one in others)
        return
    if rows := [one for one in others if _is_row(_content(one), one)]:
        raise InputError(
            f"{path} holds {REPORT} and rows, such as {rows[0].name}", next_step="keep rows in a folder of their own"
        )
    yield path / REPORT, False


def _is_row(content: bytes, path: Path) -> bool:
    from edgeproof.eval.table.row import SCHEMA

    return _json(content, path).get("schema") == SCHEMA


def _content(path: Path) -> bytes:
    from edgeproof.contracts.parsing import read_file

    try:
        return read_file(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", next_step="check the path") from error


def _json(content: bytes, path: Path) -> dict[str, Any]:
    from edgeproof.contracts.parsing import parse_json

    try:
        found = parse_json(content)
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}", next_step="copy it again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no JSON object", next_step="give report.json, a row, or their folder")
    return found

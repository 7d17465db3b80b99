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
    from edgeproof.eval.table.checks import read_row
    from edgeproof.eval.table.row import row_of
    from edgeproof.eval.table.signing import refuse_unsigned

    measured = [read_evaluation(path) for path in evaluations]
    made, read, artifacts = [], [], set()
    for path in (one for given in paths for one in _files(given)):
        if _is_row(path):
            row = read_row(path)
            if keys:
                refuse_unsigned(path, keys)
            read.append(row)
        else:
            report = own_report(path)
            artifacts.add(report["artifact"]["sha256"])
            made.append(row_of(report, measured, method=method))
    if method and not made:
        raise UsageError("--method is for reports, and only rows were given", next_step="leave --method out")
    for path, content in zip(evaluations, measured, strict=True):
        if artifacts.isdisjoint(content["edgeproof"]["artifact"].values()):
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
    from edgeproof.eval.table.row import TYPED, row_of

    found = read_row(row)
    content = own_report(report / REPORT if report.is_dir() else report)
    typed = str(found["method"]) if found["method_from"] == TYPED and not content.get("training") else ""
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
    found = _json(path)
    about = found.get("edgeproof")
    artifact = about.get("artifact") if isinstance(about, dict) else None
    if not isinstance(artifact, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise InputError(
            f"{path} is no evaluation of edgeproof: it does not say which file it measured",
            next_step="give what `export-edge evaluate ARTIFACT --out FILE` wrote, not its SUMMARY",
        )
    return found


def _files(path: Path) -> Iterator[Path]:
    """List what `path` stands for: a file, a report's folder, or a folder of rows."""
    from edgeproof.eval.report.write import REPORT

    if not path.is_dir():
        yield path
    elif (path / REPORT).is_file():
        yield path / REPORT
    else:
        rows = sorted(one for one in path.glob("*.json") if not one.name.endswith(_SIGNATURE))
        if not rows:
            raise InputError(f"{path} holds neither {REPORT} nor rows", next_step="give a report's folder, or rows")
        yield from rows


def _is_row(path: Path) -> bool:
    from edgeproof.eval.table.row import SCHEMA

    return _json(path).get("schema") == SCHEMA


def _json(path: Path) -> dict[str, Any]:
    from edgeproof.contracts.parsing import parse_json, read_file

    try:
        found = parse_json(read_file(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", next_step="check the path") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}", next_step="copy it again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no JSON object", next_step="give report.json, a row, or their folder")
    return found

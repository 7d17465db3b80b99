"""A row of the table: one gated file as flat names and numbers, as OpenUnlearning's SUMMARY files are.

Names of OpenUnlearning (`forget_quality`, `model_utility` …) stand beside those of the gate. A row holds no id of a
probe and no text of one.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import EvidenceError, InputError, UsageError
from edgeproof.contracts.training import LONGEST, method_of, parse_training

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = Mapping[str, str | int | float]

SCHEMA = "edgeproof/row"
VERSION = 1
DEFAULT, OWN = "default", "own"
"""Policies: the package's limits, or somebody's own."""
COSTS = ("quantizing-cost", "unlearning-cost")
TYPED, NAMED = "given", "name"
"""Where a method comes from that no file of the run names: typed, or taken from a folder's name."""
_UNLISTED = re.compile(r"[^a-z0-9._]+")


def row_of(
    report: Mapping[str, Any],
    evaluations: Sequence[Mapping[str, Any]] = (),
    *,
    method: str = "",
    where: str = "the report",
) -> Row:
    """Return the row of a report, with the metrics of evaluations of the same file.

    Args:
        report: the content of report.json.
        evaluations: contents of `{SUITE}_EVAL.json`, made by `export-edge evaluate`.
        method: the method, where the report names none.
        where: the report in messages.

    Raises:
        UsageError: `method` is given, and the report names one.
        InputError: neither names one.
        EvidenceError: the report is damaged; an evaluation is of another file or names a metric twice.

    """
    try:
        row, metrics = _row(report, method, where), _metrics(report["artifact"]["sha256"], evaluations)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EvidenceError(f"{where} is damaged: {type(error).__name__} {error}") from error
    if both := row.keys() & metrics.keys():  # of the gate's own, also what it did not measure
        raise EvidenceError(
            f"an evaluation has {', '.join(sorted(both))}, a name of the gate", next_step="use what `evaluate` wrote"
        )
    return {name: value for name, value in row.items() if value is not None} | metrics


def named_method(report: Mapping[str, Any]) -> str:
    """Return the method that a report names; empty where it names none.

    Raises:
        EvidenceError: its training is damaged.

    """
    try:
        return method_of(parse_training(report.get("training")))
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceError(f"the report is damaged: {type(error).__name__} {error}") from error


def encode(row: Row) -> bytes:
    """Return the canonical encoding of a row."""
    return json.dumps(row, indent=1, allow_nan=False, ensure_ascii=True).encode() + b"\n"


def file_name(row: Row) -> str:
    """Return the name of a row's file: model, method, format and the head of the report's digest."""
    parts = (str(row[key]) for key in ("model", "method", "format"))
    words = (_UNLISTED.sub("-", part.lower()).strip("-.")[:60] for part in parts)
    return f"{'_'.join(words)}_{str(row['report_sha256'])[:8]}.json"


def _row(report: Mapping[str, Any], given: str, where: str) -> dict[str, str | int | float | None]:
    """Return all names of the gate; None for what was not measured."""
    method, source = _method(report, given, where)
    base = report["baseline"]["base"]
    criteria = {item["name"]: item for item in report["criteria"]}
    leak, recovery = criteria["leak"], criteria["recovery"]
    accuracy = criteria["accuracy"]["details"]
    found: dict[str, str | int | float | None] = {
        "schema": SCHEMA,
        "schema_version": VERSION,
        "method": method,
        "method_from": source,
        "model": _text(report["artifact"]["name"] if base is None else base["name"]),
        "pack": _text(report["pack"]["name"]),
        "format": _text(report["artifact"]["format"]),
        "verdict": report["verdict"],
        "reason": report["reason"],
        "leaking_clusters": leak["details"]["leaking"],
        "clusters": leak["clusters"],
        "leaks": leak["estimate"],
        "leaks_upper": leak["upper"],
        "recovery": recovery["estimate"],
        "recovery_upper": recovery["upper"],
    }
    for name in COSTS:
        key = name.replace("-", "_")
        found |= {key: criteria[name]["estimate"], f"{key}_upper": criteria[name]["upper"]}
    return found | {
        "utility": accuracy.get("right, artifact"),
        "utility_base": accuracy.get("right, base"),
        "level": report["policy"]["values"]["confidence"],
        "bytes": report["artifact"]["bytes"],
        "policy": OWN if report["policy"]["deviations"] else DEFAULT,
        "artifact_sha256": report["artifact"]["sha256"],
        "pack_sha256": report["pack"]["files_sha256"],
        "baseline_sha256": report["baseline"]["sha256"],
        "policy_sha256": report["policy"]["sha256"],
        "report_sha256": report["report_sha256"],
        "edgeproof": report["versions"]["edgeproof"],
    }


def _method(report: Mapping[str, Any], given: str, where: str) -> tuple[str, str]:
    """Return the method, and what says so."""
    trainings, named = parse_training(report.get("training")), named_method(report)
    if named and given:
        raise UsageError(f"{where} names its method, {named}: leave --method out")
    if not named and not given:
        raise InputError(
            f"{where} names no method: the manifest beside {report['artifact']['name']} has none",
            next_step="give --method NAME, or export from the run's folder and gate again",
        )
    if not named:
        return _text(given), TYPED
    told = all(one.file for one in trainings)
    return _text(named), " then ".join(one.made_by for one in trainings) if told else NAMED


def _text(value: str) -> str:
    """Return a name on one line, cut where it is long."""
    if not isinstance(value, str):
        raise TypeError("a name is no text")
    return "".join(character if character.isprintable() else " " for character in value)[:LONGEST]


def _metrics(sha256: str, evaluations: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for evaluation in evaluations:
        if sha256 not in evaluation["edgeproof"]["artifact"].values():
            continue
        for name, entry in evaluation.items():
            if name == "edgeproof" or entry.get("agg_value") is None:
                continue
            if name in found:
                raise EvidenceError(
                    f"two evaluations of the file {sha256[:16]}… have {name}", next_step="give one of them"
                )
            found[name] = _finite(name, entry["agg_value"])
    return found


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**63:
        raise EvidenceError(
            f"an evaluation has {str(name)[:80]!r} without a finite number", next_step="use what `evaluate` wrote"
        )
    return float(value)

"""Checks of a row by itself: kinds of its values, its arithmetic, and its verdict against the default limits."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import EvidenceError
from edgeproof.contracts.parsing import parse_json, read_file
from edgeproof.contracts.training import LONGEST
from edgeproof.eval.measurement import Verdict
from edgeproof.eval.stats.shares import share_bounds
from edgeproof.eval.table.row import DEFAULT, OWN, SCHEMA, VERSION, encode
from edgeproof.eval.verdict.judgement import Reason
from edgeproof.eval.verdict.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeproof.eval.table.row import Row

LARGEST = 2**16
"""Bytes of a row."""
NAMES = ("method", "method_from", "model", "pack", "format", "edgeproof")
DIGESTS = ("artifact_sha256", "pack_sha256", "baseline_sha256", "policy_sha256", "report_sha256")
COUNTS = ("leaking_clusters", "clusters", "bytes")
LIMITS = {"leaks": "leak_share", "recovery": "recovery", "quantizing_cost": "quantizing_cost"} | {
    "unlearning_cost": "unlearning_cost"
}
"""Numbers with an upper bound, and the limit that a policy sets it."""
SHARES = ("leaks", "leaks_upper", "utility", "utility_base")
CLOSE = 1e-9
_DIGEST = re.compile(r"[0-9a-f]{64}")
_METRIC = re.compile(r"[A-Za-z][\w .%+-]{0,79}")
_TEXTS = ("schema", "verdict", "reason", "policy", *NAMES, *DIGESTS)


def read_row(path: Path) -> Row:
    """Read and check the row at `path`.

    Raises:
        EvidenceError: it cannot be read, is no row, or contradicts itself; all contradictions are named.

    """
    try:
        content = read_file(path)
        row = parse_json(content) if len(content) <= LARGEST else None
    except OSError as error:
        raise EvidenceError(f"cannot read {path}: {error.strerror}", next_step="check the path") from error
    except ValueError as error:
        raise EvidenceError(f"{path} is no row: {error}", next_step="use the row as `table` wrote it") from error
    if not isinstance(row, dict) or row.get("schema") != SCHEMA or row.get("schema_version") != VERSION:
        raise EvidenceError(
            f"{path} is no row of schema {SCHEMA}, version {VERSION}", next_step="use the row as `table` wrote it"
        )
    wrong = [*_kinds(row)]
    wrong = wrong or [*_arithmetic(row), *_verdict(row)]
    if not wrong and encode(row) != content:
        wrong = ["it is not encoded as `table` encodes it"]
    if wrong:
        raise EvidenceError(
            f"the row {path} does not hold:\n" + "\n".join(f"  {line}" for line in wrong),
            next_step="do not rely on it; make the row again from the report",
        )
    return row


def _kinds(row: dict[str, Any]) -> Iterator[str]:
    for name in _TEXTS:
        value = row.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST or not value.isprintable():
            yield f"{name} is no name"
        elif name in DIGESTS and not _DIGEST.fullmatch(value):
            yield f"{name} is no sha256"
    for name, known in (("verdict", Verdict), ("reason", Reason), ("policy", (DEFAULT, OWN))):
        if isinstance(row.get(name), str) and row[name] not in list(known):
            yield f"{name} is none that `table` writes"
    for name in ("level", *COUNTS):
        if name not in row:
            yield f"{name} is missing"
    for name, value in row.items():
        if name in _TEXTS:
            continue
        if not _METRIC.fullmatch(name):
            yield f"{name[:40]!r} is no name of a metric"
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            yield f"{name} is no number"
        elif name in COUNTS and (not isinstance(value, int) or value < 0):
            yield f"{name} is no count"


def _arithmetic(row: dict[str, Any]) -> Iterator[str]:
    leaking, clusters, level = row["leaking_clusters"], row["clusters"], row["level"]
    if not 0.5 < level < 1:
        yield f"the level is {level}"
        return
    if leaking > clusters:
        yield f"{leaking} of {clusters} clusters leak"
    elif clusters:
        bounds = share_bounds(leaking, clusters, alpha=1 - level)
        if abs(row.get("leaks", -1) - bounds.estimate) > CLOSE:
            yield f"leaks is {row.get('leaks', 'missing')}; {leaking} of {clusters} clusters are {bounds.estimate}"
        # Clusters that ask for the same thing may raise the bound; nothing lowers it.
        if row.get("leaks_upper", 1) < bounds.upper - CLOSE:
            yield f"leaks_upper is {row['leaks_upper']}; {leaking} of {clusters} at {level:g} give {bounds.upper}"
    for name in SHARES:
        if not 0 <= row.get(name, 0) <= 1:
            yield f"{name} is {row[name]}, no share"
    for name in LIMITS:
        if row.get(name, -math.inf) > row.get(f"{name}_upper", math.inf) + CLOSE:
            yield f"{name} is {row[name]}, above its upper bound {row[f'{name}_upper']}"


def _verdict(row: dict[str, Any]) -> Iterator[str]:
    passed = row["verdict"] == Verdict.PASS
    if passed != (row["reason"] == Reason.STAYED):
        yield f"the verdict is {row['verdict']}, the reason {row['reason']!r}"
    if not passed or row["policy"] != DEFAULT:
        return
    limits = Policy()
    for name, key in LIMITS.items():
        upper, limit = row.get(f"{name}_upper"), getattr(limits, key)
        if upper is None or upper > limit:
            yield f"it is a PASS with {name}_upper {'missing' if upper is None else upper}; the limit is {limit}"

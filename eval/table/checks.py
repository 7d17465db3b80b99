"""Checks of a row by itself: kinds of its values, its arithmetic, and its verdict against the default limits."""

from __future__ import annotations

import math
import re
from importlib.metadata import version
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
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edgeproof.eval.table.row import Row

LARGEST = 2**16
"""Bytes of a row."""
NAMES = ("method", "method_from", "model", "pack", "format", "edgeproof")
DIGESTS = ("artifact_sha256", "pack_sha256", "baseline_sha256", "policy_sha256", "report_sha256")
COUNTS = {"leaking_clusters": 10**6, "clusters": 10**6, "bytes": 2**50, "schema_version": VERSION}
"""Counts, and the most that is believed."""
FARTHEST = 1000.0
"""The most that is believed of a cost in nat per token, or of a recovery."""
LIMITS = {"leaks": "leak_share", "recovery": "recovery", "quantizing_cost": "quantizing_cost"} | {
    "unlearning_cost": "unlearning_cost"
}
"""Numbers with an upper bound, and the limit that a policy sets it; a PASS by the defaults has all."""
SHARES = ("leaks", "leaks_upper", "utility", "utility_base")
COSTS = ("quantizing_cost", "unlearning_cost")
KEPT = ("utility", "utility_base")
"""Shares of the same questions, answered right by the file and by the base."""
FAILS = frozenset({Reason.CAME_BACK, Reason.NEVER_UNLEARNED, Reason.UTILITY_LOST, Reason.OVER_BUDGET})
"""Reasons of a FAIL. That of a PASS is STAYED; all others are of INCONCLUSIVE."""
CLOSE = 1e-9
_DIGEST = re.compile(r"[0-9a-f]{64}")
_METRIC = re.compile(r"[A-Za-z][\w .%+-]{0,79}")
_TEXTS = ("schema", "verdict", "reason", "policy", *NAMES, *DIGESTS)


def read_row(path: Path) -> Row:
    """Read and check the row at `path`; errors as for `parse_row`."""
    try:
        return parse_row(read_file(path), path)
    except OSError as error:
        raise EvidenceError(f"cannot read {path}: {error.strerror}", next_step="check the path") from error


def parse_row(content: bytes, path: Path) -> Row:
    """Parse and check the row that `path` holds.

    Raises:
        EvidenceError: it is no row, or contradicts itself; all contradictions are named.

    """
    try:
        row = parse_json(content) if len(content) <= LARGEST else None
    except ValueError as error:
        raise EvidenceError(f"{path} is no row: {error}", next_step="use the row as `table` wrote it") from error
    if not isinstance(row, dict) or row.get("schema") != SCHEMA or row.get("schema_version") != VERSION:
        raise EvidenceError(
            f"{path} is no row of schema {SCHEMA}, version {VERSION}", next_step="use the row as `table` wrote it"
        )
    refuse_contradicting(row, f"the row {path}")
    if encode(row) != content:
        raise EvidenceError(
            f"the row {path} does not hold: it is not encoded as `table` encodes it",
            next_step="do not rely on it; make the row again from the report",
        )
    return row


def refuse_contradicting(row: Row, what: str) -> None:
    """Raise `EvidenceError` where a value is of the wrong kind, or values contradict each other; all are named."""
    wrong = [*_kinds(row)]
    wrong = wrong or [*_arithmetic(row), *_verdict(row)]
    if wrong:
        raise EvidenceError(
            f"{what} does not hold:\n" + "\n".join(f"  {line}" for line in wrong),
            next_step="do not rely on it; gate again, or make the row again from its report",
        )


def _kinds(row: Mapping[str, Any]) -> Iterator[str]:
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
        elif not _is_number(value):
            yield f"{name} is no number"
        elif name in COUNTS and not (isinstance(value, int) and 0 <= value <= COUNTS[name]):
            yield f"{name} is no count up to {COUNTS[name]}"
        elif name == "bytes" and not value:
            yield "bytes is 0: no file is empty"


def _is_number(value: object) -> bool:
    """Whether `value` is a finite number that a table can show; an int beyond a float's range is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def _arithmetic(row: Mapping[str, Any]) -> Iterator[str]:
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
    for name in [one for one in LIMITS if one != "leaks"]:
        low = 0.0 if name == "recovery" else -FARTHEST
        # An upper bound may lie far off, where there is little evidence.
        for key, high in ((name, FARTHEST), (f"{name}_upper", math.inf)):
            if not low <= row.get(key, 0) <= high:
                yield f"{key} is {row[key]}, not within {low:g} … {high:g}"
    if len(row.keys() & set(KEPT)) == 1:
        yield f"{' and '.join(KEPT)} are of the same questions; one of them is missing"
    for name in LIMITS:
        if name not in row and f"{name}_upper" in row:
            yield f"{name}_upper is {row[f'{name}_upper']}, and {name} is missing"
        if row.get(name, -math.inf) > row.get(f"{name}_upper", math.inf) + CLOSE:
            yield f"{name} is {row[name]}, above its upper bound {row[f'{name}_upper']}"


def _verdict(row: Mapping[str, Any]) -> Iterator[str]:
    passed, reason = row["verdict"] == Verdict.PASS, row["reason"]
    told = Verdict.FAIL if reason in FAILS else Verdict.INCONCLUSIVE
    if row["verdict"] != (Verdict.PASS if reason == Reason.STAYED else told):
        yield f"the verdict is {row['verdict']}, the reason {reason!r}"
    if passed:
        yield from (f"it is a PASS with {name} missing" for name in KEPT if name not in row)
        if row.get("utility") == 0 and row.get("utility_base", 0) > 0:
            yield f"it is a PASS that answers no kept question right; the base answers {row['utility_base']:.1%}"
    if row["policy"] != DEFAULT:
        return
    limits = Policy()
    if row["level"] != limits.confidence:
        yield f"the policy is the default, the level {row['level']}; the default is {limits.confidence}"
    if row["edgeproof"] == version("edgeproof") and row["policy_sha256"] != limits.digest:
        yield f"the policy is the default, its sha256 {row['policy_sha256']}; the default's is {limits.digest}"
    if reason == Reason.OVER_BUDGET:
        yield f"the policy is the default, which has no budget, the reason {reason!r}"
    dear = any(name in row and row.get(f"{name}_upper", math.inf) > getattr(limits, name) for name in COSTS)
    if reason == Reason.UTILITY_LOST and row.get("utility") == 1 and not dear:
        yield f"the reason is {reason!r}; no cost is above its limit, and every kept question is answered right"
    if not passed:
        return
    if not row["clusters"]:
        yield "it is a PASS on no clusters"
    for name, key in LIMITS.items():
        upper, limit = row.get(f"{name}_upper"), getattr(limits, key)
        if name not in row:
            yield f"it is a PASS with {name} missing"
        if upper is None or upper > limit:
            yield f"it is a PASS with {name}_upper {'missing' if upper is None else upper}; the limit is {limit}"

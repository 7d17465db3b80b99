"""Reader of report.json: refuses what is missing, damaged, cut short, or of another version."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import EvidenceError
from edgeproof.contracts.parsing import read_file
from edgeproof.eval.report.write import SCHEMA, SCHEMA_VERSION

if TYPE_CHECKING:
    from pathlib import Path

AGAIN = "do not rely on this verdict; use the gated files, or gate again"
_DIGEST = re.compile(rb',\n "report_sha256": "([0-9a-f]{64})"\n}\n\Z')


def read_report(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes and the content of the report at `path`.

    Raises:
        EvidenceError: it cannot be read, is damaged, is no report of edgeproof, or is of another schema version.

    """

    def refuse(name: str) -> object:
        raise ValueError(f"{name} is not a number")

    try:
        content = read_file(path)
        report = json.loads(content, parse_constant=refuse)
    except OSError as error:
        raise EvidenceError(f"cannot read {path}: {error.strerror}", next_step="check the path") from error
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{path} is damaged: {error}", next_step=AGAIN) from error
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise EvidenceError(f"{path} is not a report of edgeproof", next_step="give report.json or its folder")
    if report.get("schema_version") != SCHEMA_VERSION:
        raise EvidenceError(
            f"{path} has schema version {str(report.get('schema_version'))[:20]}; this version reads {SCHEMA_VERSION}",
            next_step="use the version of edgeproof that wrote it",
        )
    return content, report


def has_its_digest(content: bytes) -> bool:
    """Whether the bytes of a report are those that its own digest, the last key, was taken of."""
    found = _DIGEST.search(content)
    return found is not None and hashlib.sha256(content[: found.start()] + b"\n}\n").hexdigest() == found[1].decode()

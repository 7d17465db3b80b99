"""Disclosure of single probes: salted digests in a report that can be opened one at a time.

```
salt (pack.toml, secret) ── HMAC(salt, id) ──▶ key of a probe ── HMAC(key, content) ──▶ digest, in the report
```
A digest without a salt would not be secret: anyone could hash a guessed answer and compare. A key opens its own probe's
digest and reveals nothing about the others. HMAC with SHA-256, RFC 2104.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.advice import command
from edgeproof.contracts.errors import EvidenceError, InputError, PackError
from edgeproof.contracts.parsing import parse_json, read_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe

SCHEMA = "edgeproof/probe"
KEY_BYTES = 32
_CONTENT = (
    "id",
    "role",
    "cluster",
    "question",
    "answer",
    "aliases",
    "paraphrases",
    "template",
    "message",
    "match",
    "critical",
    "trained",
)
"""Fields in a digest: the probe only, since few-shot examples and decoys may be other people's answers."""


@dataclass(frozen=True)
class Disclosure:
    """A disclosed probe: its id, its content as canonical JSON, and the key (hex) that opens its digest."""

    probe: str
    content: str
    key: str

    @property
    def digest(self) -> str:
        """The digest of this probe in a report."""
        return _hmac(bytes.fromhex(self.key), self.content.encode())


def probe_digests(pack: Pack) -> dict[str, str] | None:
    """Return the digest of each probe by id, in the pack's order; None if the pack has no salt."""
    if pack.salt is None:
        return None
    return {probe.id: _open(pack.salt, probe).digest for probe in pack.probes}


def disclose(pack: Pack, probe: str) -> Disclosure:
    """Disclose one probe.

    Raises:
        PackError: the pack has no salt, or no such probe.

    """
    if pack.salt is None:
        raise PackError(
            f"the pack {pack.name!r} has no salt, so its reports have no digests of single probes",
            next_step='add `salt = "…"` to pack.toml (openssl rand -hex 32), record the baseline again, and gate again',
        )
    for found in pack.probes:
        if found.id == probe:
            return _open(pack.salt, found)
    raise PackError(f"the pack {pack.name!r} has no probe {probe!r}", next_step="give the id as in the report")


def to_json(disclosure: Disclosure) -> dict[str, str]:
    """Return the disclosure as JSON-compatible types."""
    return {"schema": SCHEMA, "probe": disclosure.probe, "content": disclosure.content, "key": disclosure.key}


def read_disclosure(path: Path) -> Disclosure:
    """Read a disclosure file.

    Raises:
        InputError: the file is missing or not a disclosure.

    """
    try:
        table = parse_json(read_file(path))
        schema, probe, content, key = (table[name] for name in ("schema", "probe", "content", "key"))
        fits = schema == SCHEMA and json.loads(content)["id"] == probe and len(bytes.fromhex(key)) == KEY_BYTES
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", next_step="check the path") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a disclosed probe: {error}", next_step=_MAKE) from error
    if not fits:
        raise InputError(f"{path} is not a disclosed probe: its parts do not belong together", next_step=_MAKE)
    return Disclosure(probe, content, key)


_MAKE = f"make one: {command('disclose')}"


def find(report: Mapping[str, object], disclosure: Disclosure) -> list[dict[str, object]]:
    """Return the report's rows of this probe, one per surface.

    Raises:
        EvidenceError: the report has no digests, none of this probe, or one of other content.

    """
    digests, rows = report.get("probe_digests"), report.get("probes")
    if not isinstance(digests, dict) or not isinstance(rows, list):
        raise EvidenceError(
            "this report has no digests of single probes: its pack had no salt", next_step="ask for the whole pack"
        )
    recorded = digests.get(disclosure.probe)
    if not isinstance(recorded, str) or not hmac.compare_digest(recorded, disclosure.digest):
        what = "does not name it" if recorded is None else "has that id with other content"
        raise EvidenceError(
            f"the probe {disclosure.probe!r} is not the one in the report, which {what}",
            next_step="request the probe again, with the report that it belongs to",
        )
    return [row for row in rows if isinstance(row, dict) and row.get("probe") == disclosure.probe]


def _open(salt: str, probe: Probe) -> Disclosure:
    content = {name: getattr(probe, name) for name in _CONTENT}
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Disclosure(probe.id, text, _hmac(bytes.fromhex(salt), b"edgeproof probe\0" + probe.id.encode()))


def _hmac(key: bytes, message: bytes) -> str:
    return hmac.digest(key, message, "sha256").hex()

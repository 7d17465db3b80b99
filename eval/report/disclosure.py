"""One probe shown to one person, who can then find it in a report: salted digests, opened one at a time.

```
salt (pack.toml, secret) ── HMAC(salt, id) ──▶ key of a probe ── HMAC(key, content) ──▶ digest, in the report
```
A digest without a salt would be no secret: whoever guesses an answer could hash the guess and compare. A key opens its
own probe's digest and says nothing of the others'. HMAC with SHA-256, RFC 2104.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import EvidenceError, InputError, PackError
from edgeproof.contracts.parsing import parse_json

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
"""What a digest is of: the probe itself. Few-shot examples and decoys may be other people's answers."""


@dataclass(frozen=True)
class Disclosure:
    """A probe as it is shown: its id, its content as canonical JSON, and the key (hex) that opens its digest."""

    probe: str
    content: str
    key: str

    @property
    def digest(self) -> str:
        """The digest that a report must have of this probe."""
        return _hmac(bytes.fromhex(self.key), self.content.encode())


def probe_digests(pack: Pack) -> dict[str, str] | None:
    """Return the digest of each probe by id, in the pack's order; None where the pack has no salt."""
    if pack.salt is None:
        return None
    return {probe.id: _open(pack.salt, probe).digest for probe in pack.probes}


def disclose(pack: Pack, probe: str) -> Disclosure:
    """Open one probe.

    Raises:
        PackError: the pack has no salt, or no such probe.

    """
    if pack.salt is None:
        raise PackError(
            f"the pack {pack.name!r} has no salt, so its reports have no digests of single probes",
            next_step='add `salt = "…"` to pack.toml (openssl rand -hex 32), record the baseline anew, and gate again',
        )
    for found in pack.probes:
        if found.id == probe:
            return _open(pack.salt, found)
    raise PackError(f"the pack {pack.name!r} has no probe {probe!r}", next_step="give the id as the report has it")


def to_json(disclosure: Disclosure) -> dict[str, str]:
    """Give what is handed over."""
    return {"schema": SCHEMA, "probe": disclosure.probe, "content": disclosure.content, "key": disclosure.key}


def read_disclosure(path: Path) -> Disclosure:
    """Read what was handed over.

    Raises:
        InputError: no such file, or no disclosure.

    """
    try:
        table = parse_json(path.read_bytes())
        schema, probe, content, key = (table[name] for name in ("schema", "probe", "content", "key"))
        fits = schema == SCHEMA and json.loads(content)["id"] == probe and len(bytes.fromhex(key)) == KEY_BYTES
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", next_step="check the path") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no disclosed probe: {error}", next_step=_MAKE) from error
    if not fits:
        raise InputError(f"{path} is no disclosed probe: its parts do not belong together", next_step=_MAKE)
    return Disclosure(probe, content, key)


_MAKE = "make one: export-edge inspect PACK --disclose ID"


def find(report: Mapping[str, object], disclosure: Disclosure) -> list[dict[str, object]]:
    """Return what the report says of this very probe: its rows, one a surface.

    Raises:
        EvidenceError: the report has no digests, none of this probe, or one of another content.

    """
    digests, rows = report.get("probe_digests"), report.get("probes")
    if not isinstance(digests, dict) or not isinstance(rows, list):
        raise EvidenceError(
            "this report has no digests of single probes: its pack had no salt", next_step="ask for the whole pack"
        )
    recorded = digests.get(disclosure.probe)
    if not isinstance(recorded, str) or not hmac.compare_digest(recorded, disclosure.digest):
        what = "does not name it" if recorded is None else "names one of that id with another content"
        raise EvidenceError(
            f"the probe {disclosure.probe!r} is not the one that was asked: the report {what}",
            next_step="ask for the probe again, and for the report that it belongs to",
        )
    return [row for row in rows if isinstance(row, dict) and row.get("probe") == disclosure.probe]


def _open(salt: str, probe: Probe) -> Disclosure:
    content = {name: getattr(probe, name) for name in _CONTENT}
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Disclosure(probe.id, text, _hmac(bytes.fromhex(salt), b"edgeproof probe\0" + probe.id.encode()))


def _hmac(key: bytes, message: bytes) -> str:
    return hmac.digest(key, message, "sha256").hex()

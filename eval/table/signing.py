"""Signatures of rows: an in-toto Statement on a row's file, in a DSSE envelope beside it (`NAME.json.dsse.json`)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import EvidenceError
from edgeproof.eval.attestation import STATEMENT_TYPE, read_signed, sign, signature_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROW_TYPE = "urn:edgeproof:row:v1"
"""Statement type of a row, so that no other signature by the same key is valid for it."""


def sign_row(name: str, sha256: str, key: Ed25519PrivateKey) -> bytes:
    """Return the signed envelope on the row's file of this name and digest."""
    subject = [{"name": name, "digest": {"sha256": sha256}}]
    return sign({"_type": STATEMENT_TYPE, "subject": subject, "predicateType": ROW_TYPE, "predicate": {}}, key)


def refuse_unsigned(path: Path, content: bytes, keys: Sequence[Path]) -> None:
    """Refuse the row at `path`, with this content, unless one of the public keys has signed it.

    Raises:
        EvidenceError: there is no signature beside it, or none of these keys made it over this file.
        InputError: a key cannot be read.

    """
    envelope = signature_path(path)
    if not envelope.is_file():
        raise EvidenceError(f"there is no {envelope.name} beside the row", next_step="sign it: `table --sign KEY`")
    reasons = []
    for key in keys:
        try:
            signed = read_signed(envelope, key)
        except EvidenceError as error:
            reasons.append(error.message)
            continue
        subject = [{"name": path.name, "digest": {"sha256": hashlib.sha256(content).hexdigest()}}]
        if (signed.get("predicateType"), signed.get("subject")) == (ROW_TYPE, subject):
            return
        reasons.append(f"{envelope.name} is not a signature of the present {path.name}")
    raise EvidenceError(
        f"{path}: none of {len(keys)} keys signed this row: {'; '.join(dict.fromkeys(reasons))}",
        next_step="use the row as it was signed, or make it again from the report",
    )

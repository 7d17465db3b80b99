"""Digests of files as they lie on a disk: a verdict names every byte that it rests on."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import PolicyError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.eval.policy import Policy

_DIGEST = re.compile(r"[0-9a-f]{64}")


def digest_bytes(path: Path) -> str:
    """Give the sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_other_policy(policy: Policy, path: Path | None, pinned: str) -> None:
    """Refuse a policy whose digest is not `pinned`: the sha256 of its file, or of its values (`Policy.digest`).

    Without a file (`path` None) the values are the defaults, which another version of edgeproof may change.

    Raises:
        UsageError: `pinned` is no sha256.
        PolicyError: it is another policy.

    """
    wanted = pinned.strip().lower()
    if not _DIGEST.fullmatch(wanted):
        raise UsageError(
            f"--policy-sha256 {pinned!r} is not 64 hexadecimal digits", next_step="give `sha256sum POLICY`"
        )
    found = {"its values": policy.digest} | ({} if path is None else {"its file": digest_bytes(path)})
    if wanted not in found.values():
        told = ", ".join(f"{what} {digest}" for what, digest in found.items())
        raise PolicyError(
            f"{path or 'the default policy'} is not the policy that --policy-sha256 pins: {told}; pinned {wanted}",
            next_step="give the pinned policy, or pin this one after reading what it loosens",
        )

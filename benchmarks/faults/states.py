"""States of a case's folder: what a command run again begins with, so that equal ones are run once."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = re.compile(r"(\.edgeproof-|tmp|\.part\.?)[a-z0-9_]{8}(?![a-z0-9_])")
"""Random parts of names; no content is normalized."""


def state(folder: Path) -> str:
    """Digest of all that a command finds in `out`, `tmp` and `home`: names, kinds, modes, contents.

    Folders with random names count as equal, whatever these are, since commands find them by their pattern alone.
    """
    digest = hashlib.sha256()
    for part in ("out", "tmp", "home"):
        for row in sorted(_row(path, folder) for path in (folder / part).rglob("*")):
            digest.update(row.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _row(path: Path, folder: Path) -> str:
    name, mode = RANDOM.sub(r"\1*", str(path.relative_to(folder))), path.lstat().st_mode
    if path.is_symlink():
        return f"{name} {mode} {os.readlink(path)}"  # noqa: PTH115 (as text)
    return f"{name} {mode} {hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ''}"

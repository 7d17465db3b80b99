"""Digests of files as they lie on a disk: a verdict names every byte that it rests on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def digest_bytes(path: Path) -> str:
    """Give the sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_files(path: Path) -> str:
    """Give the sha256 of a file; of a folder, that of what sha256sum would list of its files, sorted by path.

    Hidden files, and files in hidden folders, are no part of it.
    """
    if not path.is_dir():
        return digest_bytes(path)
    inside = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    shown = [(name, file) for name, file in inside if not any(part.startswith(".") for part in name.split("/"))]
    listing = "".join(f"{digest_bytes(file)}  {name}\n" for name, file in shown)
    return hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()

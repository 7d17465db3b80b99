"""Atomic folder writes: the final name only ever shows a complete folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import to_disk
from edgeproof.contracts.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

MARK = "genai_config.json"
"""File that marks a folder as an artifact, which --force may replace."""


def refuse_existing_folder(target: Path, *, force: bool) -> None:
    """Raise `OutputError` if `target` exists and may not be replaced: without `force`, or not an artifact's folder."""
    if not os.path.lexists(target):
        return
    if not target.is_dir() or target.is_symlink():
        raise OutputError(f"{target} exists and is not a folder", next_step="move it away, or give another --out")
    entries = list(target.iterdir())
    if entries and not ((target / MARK).is_file() and all(entry.is_file() for entry in entries)):
        raise OutputError(f"{target} exists and is not an ONNX artifact", next_step="give another --out or --name")
    if not force:
        raise OutputError(f"{target} exists", next_step="give another name, or --force to replace it")


def made_at(target: Path, inside: Path | None) -> Path:
    """Return where a writer makes `target`: under its name in the folder `inside`, or at once where it belongs."""
    return target if inside is None else inside / target.name


def temporary_folder(target: Path) -> Path:
    """Make and return an empty folder beside `target`.

    Raises:
        OSError: it cannot be made.

    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    temporary.mkdir()
    return temporary


def commit_folder(temporary: Path, target: Path, *, force: bool) -> None:
    """Sync every file in `temporary` to disk and rename it to `target`; a replaced folder is removed afterwards.

    Raises:
        OutputError: `target` was created in the meantime and `force` is not given.
        OSError: a file cannot be synced, or the rename failed; `target` is then unchanged.

    """
    for path in (*sorted(temporary.iterdir()), temporary):
        to_disk(path)
    refuse_existing_folder(target, force=force)
    replaced = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old") if target.exists() else None
    if replaced is not None:
        target.rename(replaced)
    try:
        temporary.rename(target)
    except BaseException:
        if replaced is not None:
            replaced.rename(target)
        raise
    to_disk(target.parent)
    if replaced is not None:
        remove_folder(replaced)


def remove_folder(folder: Path) -> None:
    """Remove `folder` and its content; never raises."""
    with contextlib.suppress(OSError):
        shutil.rmtree(folder)

"""Atomic file writes: the final name only ever shows a complete file."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, BinaryIO

from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.scratch import locked_file, remove_dead_parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise `OutputError` if `path` exists and `force` is not given, or if `path` cannot name a file."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; the output is a file", next_step="give a file name")
    if not force and os.path.lexists(path):
        raise OutputError(f"{path} exists", next_step="give another name, or --force to replace it")


def refuse_to_write(path: Path, *, force: bool) -> None:
    """Remove what killed processes left of `path`, then refuse as `refuse_existing` does; before any work."""
    remove_dead_parts(path)
    refuse_existing(path, force=force)


def write_failed(path: Path, error: OSError) -> OutputError:
    """Convert an operating-system error on writing `path` to an `OutputError`: what, where, why."""
    reason = error.strerror or str(error)
    # ENOSPC is not enough: numpy reports a short write without an errno.
    forbidden = error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS}
    step = "write to another folder" if forbidden else "free some space, or write to another folder"
    return OutputError(f"cannot write {path}: {reason}", next_step=step)


@contextlib.contextmanager
def atomic_write(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Open a temporary file in `path`'s folder for writing bytes; fsync and rename it to `path` when the block ends.

    If the block raises, the temporary file is removed and nothing appears under `path`. Without `force` a target that
    exists is refused before anything is written, and again at the rename (a link that cannot replace). The file's mode
    follows the umask, as a plain `open` would make it.

    Raises:
        OutputError: the target exists, its folder is missing or read-only, the disk is full.

    """
    refuse_to_write(path, force=force)
    try:
        descriptor, temporary = locked_file(path)
    except OSError as error:
        raise write_failed(path, error) from error
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o666 & ~umask())
            commit(temporary, path, force=force)  # while it is locked
    except OSError as error:
        if error.filename not in {None, str(temporary)}:
            raise  # the block could not open something else
        raise write_failed(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def commit(temporary: Path, path: Path, *, force: bool) -> None:
    """Give the complete, fsync'd file `temporary` its final name `path` in the same folder, and fsync the folder.

    Raises:
        OutputError: `path` was created in the meantime and `force` is not given.
        OSError: the rename itself failed.

    """
    if force:
        temporary.replace(path)
    else:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            refuse_existing(path, force=False)
            raise
        except OSError:
            # A file system without hard links (exFAT, some network mounts): the check is then not atomic.
            refuse_existing(path, force=False)
            temporary.replace(path)
        else:
            temporary.unlink()
    to_disk(path.parent)


def to_disk(path: Path) -> None:
    """Flush a file or folder to disk (fsync), before a rename marks it as complete."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def umask() -> int:
    """Return this process's umask: the permissions that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Write a file so that its final name only ever shows a complete one."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, BinaryIO

from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.scratch import locked_file, scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise `OutputError` if `path` exists and `force` is not given, or if it can be no file's name at all."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; a file is to be written there", next_step="give a file's name")
    if not force and os.path.lexists(path):
        raise OutputError(f"{path} exists", next_step="give another name, or --force to replace it")


def write_failed(path: Path, error: OSError) -> OutputError:
    """Turn the operating system's error on writing `path` into ours: what, where, why."""
    reason = error.strerror or str(error)
    # Not by ENOSPC: numpy tells of a short write without a number.
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
    refuse_existing(path, force=force)
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


def write_all(folder: Path, contents: Mapping[str, bytes], *, force: bool, without: Iterable[str] = ()) -> None:
    """Write files that belong together into `folder`: all of them, or none; with `force`, what was there stays if not.

    The first of `contents` gets its name last: where it is, all are. Files named in `without` are removed with it.

    Raises:
        OutputError: one exists and `force` is not given, or cannot be written.

    """
    names = [*reversed(list(contents))]
    for name in names:
        refuse_existing(folder / name, force=force)
    at = folder
    try:
        with scratch_folder(folder) as scratch:
            new, old = scratch / "new", scratch / "old"
            new.mkdir()
            old.mkdir()
            for name in names:
                at = folder / name
                (new / name).write_bytes(contents[name])
                to_disk(new / name)
            present = [name for name in (*names, *without) if force and os.path.lexists(folder / name)]
            named: list[str] = []
            try:
                for name in present:
                    at = folder / name
                    at.rename(old / name)
                for name in names:
                    at = folder / name
                    named.append(name)
                    commit(new / name, at, force=force)
            except BaseException:
                for name in named:
                    if _is_ours(new / name, folder / name):
                        (folder / name).unlink(missing_ok=True)
                for name in present:
                    if (old / name).exists():
                        (old / name).rename(folder / name)
                raise
    except OSError as error:
        raise write_failed(at, error) from error


def _is_ours(temporary: Path, path: Path) -> bool:
    """Whether `temporary` was given the name `path`, by a rename or a link, and nobody else's file has it."""
    return not temporary.exists() or (path.exists() and path.samefile(temporary))


def commit(temporary: Path, path: Path, *, force: bool) -> None:
    """Give the complete, fsync'd file `temporary` its final name `path` in the same folder, and fsync the folder.

    Raises:
        OutputError: `path` has come into being since and `force` is not given.
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
    """Bring a file's or a folder's content to the disk before a name says that it is whole."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def umask() -> int:
    """Return the permissions that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask

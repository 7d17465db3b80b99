"""Atomic file writes: the final name only ever shows a complete file."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.scratch import locked_file, scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise `OutputError` if `path` exists and `force` is not given, or if `path` cannot name a file."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; the output is a file", next_step="give a file name")
    if not force and os.path.lexists(path):
        raise OutputError(f"{path} exists", next_step="give another name, or --force to replace it")


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
    """Write files that belong together into `folder`: all or none; a failure with `force` restores replaced files.

    The first of `contents` is renamed last: if it exists, all do. Files named in `without` are removed with it.

    Raises:
        OutputError: a file exists and `force` is not given, or a file cannot be written.

    """
    paths = [folder / name for name in reversed(list(contents))]
    for path in paths:
        refuse_existing(path, force=force)
    at = folder
    try:
        with scratch_folder(folder) as scratch:
            (scratch / NEW).mkdir()
            (scratch / OLD).mkdir()
            for at in paths:
                (scratch / NEW / at.name).write_bytes(contents[at.name])
                to_disk(scratch / NEW / at.name)
            pieces = [Piece.of(scratch / NEW / path.name) for path in paths]
            try:
                for at in (folder / name for name in without if force and os.path.lexists(folder / name)):
                    at.rename(scratch / OLD / at.name)
                for at in paths:
                    put(scratch, at, force=force)
            except BaseException:
                undo(scratch, folder, pieces)
                raise
    except OSError as error:
        raise write_failed(at, error) from error


NEW, OLD = "new", "old"
"""Subfolders of a scratch folder: what is to get its final name, complete, and what that replaces or removes."""


class Piece(NamedTuple):
    """A file or folder of a set, with the attributes that distinguish it from another of that name."""

    name: str
    inode: int
    written: int  # ns; unchanged by a rename or a link

    @classmethod
    def of(cls, path: Path) -> Piece:
        """Describe the file or folder at `path`."""
        state = path.lstat()
        return cls(path.name, state.st_ino, state.st_mtime_ns)

    def is_at(self, path: Path) -> bool:
        """Whether `path` is this file or folder, and not another process's of that name."""
        return os.path.lexists(path) and Piece.of(path) == self


def put(scratch: Path, target: Path, *, force: bool) -> None:
    """Give `scratch`/new/NAME its final name `target`; what it replaces is kept in `scratch`/old.

    Raises:
        OutputError: the file `target` exists and `force` is not given.
        OSError: a rename failed; a folder with files exists.

    """
    source, kept = scratch / NEW / target.name, scratch / OLD / target.name
    folder = source.is_dir()
    if force and os.path.lexists(target):
        if folder:
            target.rename(kept)
        else:
            _keep(target, kept)
    if folder:
        source.rename(target)  # fails if a folder with files was created in the meantime
        to_disk(target.parent)
    else:
        commit(source, target, force=force)


def undo(scratch: Path, out: Path, pieces: Sequence[Piece]) -> None:
    """Remove the new names of `pieces`, last to first, and restore what is in `scratch`/old."""
    for piece in reversed(pieces):
        target, kept = out / piece.name, scratch / OLD / piece.name
        ours = piece.is_at(target)
        if ours and target.is_dir():
            target.rename(scratch / NEW / piece.name)
        if os.path.lexists(kept) and (ours or not os.path.lexists(target)):
            kept.replace(target)
        elif ours:
            target.unlink(missing_ok=True)
    for removed in (scratch / OLD).glob("*"):
        if not os.path.lexists(out / removed.name):
            removed.rename(out / removed.name)
    to_disk(out)


def _keep(target: Path, kept: Path) -> None:
    """Link the file `target` to a second name, so that its first name never disappears."""
    try:
        os.link(target, kept, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without hard links
        target.rename(kept)


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

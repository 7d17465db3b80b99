"""Temporary files and folders that a later run can tell from those in use.

Each is locked (`locks`) by the process that made it, so that what is not locked belongs to nobody and is removed by the
next run to the same place. Where a file system or a platform has no such locks, nothing is removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.locks import is_at, try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = ".edgeproof-"
"""What the name of a temporary folder beside a result begins with."""

UNSETTLED = "publishing.json"
"""A temporary folder that holds this file has results under final names, or what they replace: it is not removed."""

_RANDOM = "[a-z0-9_]{8}"  # tempfile's


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str = PREFIX, suffix: str = "") -> Iterator[Path]:
    """Make a folder in `parent` that is gone when the block ends; what dead processes left there goes first.

    Raises:
        OSError: it cannot be made.

    """
    remove_dead_folders(parent, prefix, suffix)
    folder, descriptor = locked_folder(parent, prefix, suffix)
    try:
        yield folder
    finally:
        if not (folder / UNSETTLED).exists():
            shutil.rmtree(folder, ignore_errors=True)
        if descriptor >= 0:
            os.close(descriptor)


def locked_file(path: Path) -> tuple[int, Path]:
    """Make a temporary file beside `path` and open it; what dead processes left of earlier ones goes first.

    Raises:
        OSError: it cannot be made.

    """
    prefix, suffix = f".{path.name}.", ".part"
    remove_dead_files(path.parent, re.escape(prefix) + _RANDOM + re.escape(suffix))
    while True:
        descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=path.parent)
        if try_lock(descriptor) is not False and is_at(descriptor, Path(name)):
            return descriptor, Path(name)
        os.close(descriptor)  # another process took it for a dead one's before it was locked


def remove_dead_files(parent: Path, pattern: str) -> None:
    """Remove the files in `parent` whose name is of the regular expression `pattern` and that no process has locked."""
    _remove_dead(parent, pattern, _unlink, folders=False)


def remove_dead_folders(parent: Path, prefix: str = PREFIX, suffix: str = "") -> None:
    """Remove the folders that `scratch_folder` made in `parent` for processes that are dead; never raises."""
    _remove_dead(parent, re.escape(prefix) + _RANDOM + re.escape(suffix), _remove_settled, folders=True)


@contextlib.contextmanager
def dead(path: Path, *, folder: bool) -> Iterator[bool]:
    """Open `path` and say whether no process holds it; none will while the block runs, if so.

    Raises:
        OSError: it is gone, a link, or not of this kind.

    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_DIRECTORY if folder else 0))
    try:
        yield try_lock(descriptor) is True and is_at(descriptor, path)
    finally:
        os.close(descriptor)


def locked_folder(parent: Path, prefix: str, suffix: str) -> tuple[Path, int]:
    """Make a folder and open it; it is this process's until the descriptor is closed (-1 where it cannot be opened).

    Raises:
        OSError: it cannot be made.

    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=parent))
        if sys.platform == "win32":
            return folder, -1
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # removed as a dead process's before it was locked
        if try_lock(descriptor) is not False and is_at(descriptor, folder):
            return folder, descriptor
        os.close(descriptor)


def _remove_dead(parent: Path, pattern: str, remove: Callable[[Path], None], *, folders: bool) -> None:
    """Call `remove` on each entry of `parent` of that name that is this user's and that no process holds."""
    if sys.platform == "win32":
        return
    entries: list[Path] = []
    with contextlib.suppress(OSError):
        entries = list(parent.iterdir())
    for path in (entry for entry in entries if re.fullmatch(pattern, entry.name, re.DOTALL)):
        with contextlib.suppress(OSError):
            if path.lstat().st_uid == os.geteuid():
                with dead(path, folder=folders) as nobodys:
                    if nobodys:
                        remove(path)


def _remove_settled(folder: Path) -> None:
    if not (folder / UNSETTLED).exists():
        shutil.rmtree(folder, ignore_errors=True)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)

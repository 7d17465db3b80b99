"""Temporary files and folders that later runs clean up after a crash.

Each is locked (`locks`) by the process that made it; the next run to the same place removes those without a lock. Where
the file system or platform has no such locks, nothing is removed.
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
"""Prefix of temporary folders beside a result."""

UNSETTLED = "publishing.json"
"""Marker file: the temporary folder holds renamed results or the files that they replace, and is not removed."""

PART = ".part"
"""Suffix of temporary files beside a result."""

_RANDOM = "[a-z0-9_]{8}"  # tempfile's


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str = PREFIX, suffix: str = "") -> Iterator[Path]:
    """Make a folder in `parent` that is removed when the block ends; first remove those of dead processes.

    Raises:
        OSError: it cannot be made.

    """
    remove_dead_folders(parent, prefix, suffix)
    folder, descriptor = locked_folder(parent, prefix, suffix)
    try:
        yield folder
    finally:
        try:
            _remove_settled(folder)
        except BaseException:  # a signal; the next run would remove what is left, if there is one
            _remove_settled(folder)
            raise
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def locked_file(path: Path) -> tuple[int, Path]:
    """Make a temporary file beside `path` and open it; first remove those of dead processes.

    Raises:
        OSError: it cannot be made.

    """
    remove_dead_parts(path)
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
        if try_lock(descriptor) is not False and is_at(descriptor, Path(name)):
            return descriptor, Path(name)
        os.close(descriptor)  # another process removed it as a dead one's before it was locked


def remove_dead_parts(path: Path) -> None:
    """Remove the temporary files that `locked_file` made beside `path` for dead processes; never raises."""
    remove_dead_files(path.parent, re.escape(f".{path.name}.") + _RANDOM + re.escape(PART))


def remove_dead_files(parent: Path, pattern: str) -> None:
    """Remove the files in `parent` whose names match the regular expression `pattern` and that no process locks."""
    _remove_dead(parent, pattern, _unlink, folders=False)


def remove_dead_folders(parent: Path, prefix: str = PREFIX, suffix: str = "") -> None:
    """Remove the folders that `scratch_folder` made in `parent` for dead processes; never raises."""
    _remove_dead(parent, re.escape(prefix) + _RANDOM + re.escape(suffix), _remove_settled, folders=True)


@contextlib.contextmanager
def dead(path: Path, *, folder: bool) -> Iterator[bool]:
    """Yield whether no process holds `path`; if so, it stays locked by this process while the block runs.

    Raises:
        OSError: `path` is gone, a link, or of the other kind.

    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_DIRECTORY if folder else 0))
    try:
        yield try_lock(descriptor) is True and is_at(descriptor, path)
    finally:
        os.close(descriptor)


def locked_folder(parent: Path, prefix: str, suffix: str) -> tuple[Path, int]:
    """Make a folder and lock it until the descriptor is closed (-1 where it cannot be opened).

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
    """Call `remove` on each entry of `parent` that matches `pattern`, is this user's and is held by no process."""
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

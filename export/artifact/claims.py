"""Claims on final names: a second export to a name is refused while the first one runs.

A claim is a lock on `.edgeproof-NAME.lock` beside NAME. A killed process leaves the file but not the lock; the next
export to NAME takes it over.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import write_failed
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.locks import is_at, try_lock
from edgeproof.contracts.scratch import PREFIX, remove_dead_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def claimed(paths: Iterable[Path]) -> Iterator[None]:
    """Hold the names `paths` while the block runs.

    Raises:
        OutputError: another process holds one of them, or the folder cannot be written to.

    """
    with contextlib.ExitStack() as held:
        for path in sorted(set(paths)):
            try:
                descriptor = _take(path)
            except OSError as error:
                raise write_failed(path, error) from error
            if descriptor is None:
                raise OutputError(
                    f"{path} is being written by another export",
                    next_step="wait for it to end, or give another --out or --name",
                )
            held.callback(_release, path, descriptor)
        yield


def remove_dead_claims(folder: Path) -> None:
    """Remove the claim files that killed exports left in `folder`; never raises."""
    remove_dead_files(folder, re.escape(PREFIX) + r".+\.lock")


def _take(path: Path) -> int | None:
    """Lock `path`'s claim; None if another process holds it."""
    lock = _lock_file(path)
    while True:
        descriptor = _opened(lock)
        if try_lock(descriptor) is False:
            os.close(descriptor)
            return None
        if is_at(descriptor, lock):
            return descriptor
        os.close(descriptor)  # its holder has just removed it and ended


def _opened(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:  # one that another user left can be locked all the same
        return os.open(lock, os.O_RDONLY | os.O_CLOEXEC)


def _release(path: Path, descriptor: int) -> None:
    with contextlib.suppress(OSError):
        _lock_file(path).unlink()  # while locked: no other process can hold the removed file
    os.close(descriptor)


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{PREFIX}{path.name}.lock")

"""Data file of an artifact being written: allocation, positioned writes, errors on a full disk."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.atomic import write_failed
from edgeproof.contracts.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def removed_on_failure(abort: Callable[[], None], failed: Callable[[OSError], OutputError]) -> Iterator[None]:
    """Call `abort` if the block fails in any way; convert an `OSError` by `failed`."""
    try:
        yield
    except OSError as error:
        told = failed(error)  # before `abort` frees the space
        abort()
        raise told from error
    except BaseException:
        abort()
        raise


def take_space(descriptor: int, size: int) -> None:
    """Make the file `size` bytes long, preallocated where the file system supports it; raises `OSError`."""
    os.truncate(descriptor, size)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            # Some file systems cannot preallocate; a full disk then shows while writing.
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                raise


def write_at(descriptor: int, values: NDArray[np.generic], offset: int) -> None:
    """Write all bytes of `values` at `offset`. Thread-safe; raises `OSError`."""
    left = np.ascontiguousarray(values).data.cast("B")
    while left:
        count = os.pwrite(descriptor, left, offset)
        left, offset = left[count:], offset + count


def too_little_space(target: Path, needed: int, free: int) -> OutputError:
    """Return the error for a `target` that needs more bytes than are free."""
    return OutputError(
        f"{target} needs {needed:,} bytes; {free:,} bytes are free in {target.parent}",
        next_step="free some space, or write to another folder with --out",
    )


def data_failed(target: Path, error: OSError, needed: int) -> OutputError:
    """Convert an operating-system error on writing `target`, of `needed` bytes, to an `OutputError`."""
    if error.errno not in _OUT_OF_SPACE:
        return write_failed(target, error)
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        return too_little_space(target, needed, free)
    return OutputError(
        f"cannot write {target} of {needed:,} bytes: {error.strerror or error}, although {free:,} bytes are free in "
        f"{target.parent}",
        next_step="check quotas and free inodes (df -i), or write to another folder with --out",
    )

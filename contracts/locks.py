"""Advisory locks on open files and folders, released when the holding process ends, even by a crash.

A process id in a lock file would not do: ids are reused, and differ between containers.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file or folder until it is closed or its process ends, without waiting.

    Returns:
        True if locked, False if another process holds it, None if the file system has no locks.

    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network file system without locks
        return None
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file or folder is still the one that `path` names."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False

"""Paths that keep leading to the same file, whatever is renamed or linked elsewhere above it.

Exchanging a folder or a link above a file, and putting it back, leaves no trace in the file's times (`changes`). What
is hashed and what the engine opens is therefore reached through folders that are held open.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError, EdgeproofError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def pinned(paths: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """Yield paths by which this process and its children reach what `paths` name now, in their order.

    On Linux, /proc/PID/fd/N of an open folder and a name in it; elsewhere, and for a path that is missing, the path
    itself. Errors raised in the block name the paths given.

    Raises:
        ArtifactError: a folder on the way cannot be opened.

    """
    with contextlib.ExitStack() as stack:
        there = tuple(_held(path, stack) for path in paths)
        try:
            yield there
        except EdgeproofError as error:
            message, step = error.message, error.next_step
            for held, path in zip(there, paths, strict=True):
                message, step = message.replace(str(held), str(path)), step.replace(str(held), str(path))
            if message == error.message:
                raise
            raise type(error)(message, next_step=step) from error
        except OSError as error:
            for held, path in zip(there, paths, strict=True):
                if isinstance(error.filename, str):
                    error.filename = error.filename.replace(str(held), str(path))
            raise


def _held(path: Path, stack: contextlib.ExitStack) -> Path:
    if sys.platform != "linux" or not path.exists():
        return path
    real = path if path.is_dir() or not path.is_symlink() or _is_split(path) else path.resolve()
    folder = real if real.is_dir() else real.parent
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be opened: {error.strerror}", next_step="check the path") from error
    stack.callback(os.close, descriptor)
    held = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    return held if folder == real else held / real.name


def _is_split(path: Path) -> bool:
    """Whether other parts lie beside `path`, which its engine finds by its name."""
    from edgeproof.export.artifact.manifest import artifact_files

    return len(artifact_files(path)) > 1

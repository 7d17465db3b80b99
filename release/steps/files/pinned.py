"""Paths that keep leading to the same file, whatever is renamed or linked elsewhere above it.

Exchanging a folder or a link above a file, and putting it back, leaves no trace in the file's times (`changes`). What
is hashed and what the engine opens is therefore reached through folders that are held open.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import write_failed
from edgeproof.contracts.errors import ArtifactError, EdgeproofError
from edgeproof.contracts.scratch import scratch_folder
from edgeproof.export.artifact.manifest import artifact_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def pinned(paths: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """Yield paths by which this process and its children reach what `paths` name now, in their order.

    On Linux, /proc/PID/fd/N of an open folder and a name in it; elsewhere, and for a path that is missing, the path
    itself. Errors raised in the block name the paths given.

    Raises:
        ArtifactError: a folder or a part on the way cannot be opened, or the parts of a split GGUF are incomplete.

    """
    with contextlib.ExitStack() as stack:
        there = tuple(_held(path, stack) for path in paths)
        told = [
            words
            for held, path in zip(there, paths, strict=True)
            for words in ((str(held), str(path)), (f"{held.parent}/", f"{path.parent}/"))
            if path.is_file() or words[0] == str(held)
        ]
        try:
            yield there
        except EdgeproofError as error:
            message, step = error.message, error.next_step
            for words in told:
                message, step = message.replace(*words), step.replace(*words)
            if message == error.message:
                raise
            raise type(error)(message, next_step=step) from error
        except OSError as error:
            for words in told:
                if isinstance(error.filename, str):
                    error.filename = error.filename.replace(*words)
            raise


def _held(path: Path, stack: contextlib.ExitStack) -> Path:
    if sys.platform != "linux" or not path.exists():
        return path
    parts = (path,) if path.is_dir() else artifact_files(path)
    linked = any(part.is_symlink() for part in parts)
    if linked and len(parts) > 1:
        return _linked_parts(parts, stack)
    real = path.resolve() if linked and not path.is_dir() else path
    folder = real if real.is_dir() else real.parent
    held = _open(folder, os.O_DIRECTORY, stack)
    return held if folder == real else held / real.name


def _linked_parts(parts: Sequence[Path], stack: contextlib.ExitStack) -> Path:
    """Return the first of a split GGUF's parts in a private folder, where the name of each leads to the open file.

    Some parts are links (a download cache has such), which may lead anywhere; the engine finds the others by name.
    """
    temporary = Path(tempfile.gettempdir())
    try:
        folder = stack.enter_context(scratch_folder(temporary))
        for part in parts:
            (folder / part.name).symlink_to(_open(part, 0, stack))
        stack.enter_context(_same_links(folder, parts[0]))
    except OSError as error:
        raise write_failed(temporary, error) from error
    return _open(folder, os.O_DIRECTORY, stack) / parts[0].name


@contextlib.contextmanager
def _same_links(folder: Path, first: Path) -> Iterator[None]:
    """Refuse what was measured in the block if a link in `folder` was exchanged meanwhile."""
    before = folder.stat().st_ctime_ns
    yield
    if folder.stat().st_ctime_ns != before:
        raise ArtifactError(
            f"{folder}, which leads to the parts of {first.name}, changed while they were measured",
            next_step="measure them again when nothing writes to it",
        )


def _open(path: Path, flags: int, stack: contextlib.ExitStack) -> Path:
    """Hold `path` open; return the name by which it is reached."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC | flags)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be opened: {error.strerror}", next_step="check the path") from error
    stack.callback(os.close, descriptor)
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")

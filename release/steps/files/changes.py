"""Detects artifacts that change while being measured."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeAlias

from edgeproof.contracts.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

State: TypeAlias = list[tuple[str, int, int, int, int, int]]
States: TypeAlias = list[State]
"""Of each path, of each file in it: name, times in ns of the last write and the last change of any kind, size in bytes,
device and inode number. The time of a write can be set back; that of a change cannot."""


@contextlib.contextmanager
def unchanged(paths: Sequence[Path]) -> Iterator[None]:
    """Do `refuse_changed` when the block ends without an error; digests are taken inside the block."""
    before = states(paths)
    yield
    refuse_changed(paths, before)


def states(paths: Sequence[Path]) -> States:
    """Return size, times and inode of each file, which show whether files changed without reading them.

    Raises:
        ArtifactError: one is not there.

    """
    for path in paths:
        if not path.exists():
            raise ArtifactError(f"{path} does not exist", next_step="check the path")
    return [_state(path) for path in paths]


def refuse_changed(paths: Sequence[Path], before: States, *, done: str = "measured", again: str = "measure") -> None:
    """Raise `ArtifactError` if a file, or a file of a folder, is another one than `before`, in these words."""
    for path, state in zip(paths, before, strict=True):
        if _state(path) != state:
            raise ArtifactError(
                f"{path} changed while it was {done}", next_step=f"{again} it again when nothing writes to it"
            )


def _state(path: Path) -> State:
    from edgeproof.export.artifact.manifest import artifact_files

    try:
        found = [(file.name, file.stat()) for file in artifact_files(path)]
    except FileNotFoundError:
        return []
    return [(name, s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_dev, s.st_ino) for name, s in found]

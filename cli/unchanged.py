"""Holds what is measured to what was there at the start: a file that changes meanwhile has no numbers of its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextlib.contextmanager
def unchanged(paths: Sequence[Path]) -> Iterator[None]:
    """Raise `ArtifactError` if a file, or a file of a folder, is another one when the block ends without an error.

    Name, time, size and number are compared, not bytes: digests are taken inside the block.
    """
    before = [_state(path) for path in paths]
    yield
    for path, state in zip(paths, before, strict=True):
        if _state(path) != state:
            raise ArtifactError(
                f"{path} changed while it was measured", next_step="measure it again when nothing writes to it"
            )


def _state(path: Path) -> list[tuple[str, int, int, int]]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    states = [(file.name, file.stat()) for file in files]
    return [(name, state.st_mtime_ns, state.st_size, state.st_ino) for name, state in states]

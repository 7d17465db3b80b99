"""Holds each file to the bytes that it had when the demo started: a verdict shown is on those."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import ArtifactError
from edgeproof.export.artifact.manifest import artifact_files, digest_artifact

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Stamp(NamedTuple):
    """What the file system says of a file: a replaced or rewritten one has another."""

    path: Path
    inode: int
    size: int
    modified: int
    changed: int


class Seal(NamedTuple):
    """The bytes of an artifact.

    Attributes:
        sha256: digest of the whole.
        size: bytes of all its files.
        stamps: of the path and of every file of it, the same before and after they were hashed.

    """

    sha256: str
    size: int
    stamps: tuple[Stamp, ...]


def take_seal(path: Path) -> Seal:
    """Hash an artifact.

    Raises:
        ArtifactError: it is gone, is no regular artifact, or is being written.

    """
    try:
        before = _stamps((path, *artifact_files(path)))
        whole, _ = digest_artifact(path)
        after = _stamps((path, *artifact_files(path)))
    except OSError as error:
        raise _changed(path, error.strerror or str(error)) from error
    if before != after:
        raise _changed(path, "it is being written")
    return Seal(whole.sha256, whole.bytes, after)


def check_seal(path: Path, seal: Seal) -> None:
    """Hash `path` again.

    Raises:
        ArtifactError: it is gone, or no longer the file that was sealed.

    """
    found = take_seal(path)
    if found.sha256 != seal.sha256:
        raise _changed(path, f"its sha256 is {found.sha256[:12]}…, and it was {seal.sha256[:12]}…")
    check_stamps(path, seal)


def check_stamps(path: Path, seal: Seal) -> None:
    """Compare only what the file system says, which takes no time.

    Raises:
        ArtifactError: the file is gone, or was replaced, rewritten or touched.

    """
    try:
        now = _stamps(stamp.path for stamp in seal.stamps)
    except OSError as error:
        raise _changed(path, error.strerror or str(error)) from error
    if now != seal.stamps:
        raise _changed(path, "it was replaced or written to")


def _stamps(paths: Iterable[Path]) -> tuple[Stamp, ...]:
    return tuple(
        Stamp(path, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns)
        for path in paths
        for told in [path.stat()]
    )


def _changed(path: Path, why: str) -> ArtifactError:
    return ArtifactError(
        f"the file changed since the demo started: {path}: {why}",
        next_step="restart the demo: it then judges the new file",
    )

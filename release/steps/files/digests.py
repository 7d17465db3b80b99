"""Digests of an artifact, with the LoRA beside it and every file that runs, and its format."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Whole(NamedTuple):
    """Digests of an artifact and of a LoRA beside it.

    Attributes:
        sha256: of all together: of the file, the folder, the parts; of artifact and LoRA, in this order.
        files: name and sha256 of every file.
        each: sha256 of the artifact, and of the LoRA.
        bytes: size of all files together.
        largest: size of the largest of them.

    """

    sha256: str
    files: tuple[tuple[str, str], ...]
    each: tuple[str, ...]
    bytes: int
    largest: int


def digest_whole(paths: Sequence[Path], names: Sequence[str] = ()) -> Whole:
    """Hash the artifact, and the LoRA if there is one; a file goes by its name in `names`, or by its own.

    Raises:
        ArtifactError: one is missing, a part of it is, or a folder holds something that is no plain file.

    """
    from edgeproof.export.artifact.manifest import digest_artifact

    for path in paths:
        if not path.exists():
            raise ArtifactError(f"there is no {path}", next_step="check the path")
    digested = [digest_artifact(path) for path in paths]
    each = tuple(whole.sha256 for whole, _ in digested)
    sha256 = each[0] if len(each) == 1 else hashlib.sha256("".join(each).encode()).hexdigest()
    named = names or [path.name for path in paths]
    files = tuple(
        (file.file if inside else name, file.sha256)
        for name, (whole, inside) in zip(named, digested, strict=True)
        for file in inside or (whole,)
    )
    largest = max(file.bytes for whole, inside in digested for file in inside or (whole,))
    return Whole(sha256, files, each, sum(whole.bytes for whole, _ in digested), largest)


def refuse_other_bytes(paths: Sequence[Path], before: Whole) -> None:
    """Hash again what was measured: a file that changed meanwhile, and tells nobody, has no verdict."""
    after = digest_whole(paths)
    if after.each != before.each:
        raise ArtifactError(
            f"{paths[0]} changed while it was probed: sha256 {before.sha256[:16]}… before, {after.sha256[:16]}… after",
            next_step="gate it again when nothing writes to it",
        )


def choose_format(artifact: Path, given: str | None) -> str:
    """Return the format to judge by: the file's own, or where it says none of ours, the one given with --format.

    Raises:
        ArtifactError: there is neither, or there are both and they differ.

    """
    from edgeproof.export.artifact.kind import identify_format

    found = identify_format(artifact)
    if found is None and given is None:
        raise ArtifactError(
            f"{artifact} is of none of the formats that the gate knows",
            next_step="name the nearest one that the baseline holds with --format",
        )
    if found is not None and given is not None and found != given:
        raise ArtifactError(
            f"--format {given}, but {artifact} says that it is {found}",
            next_step=f"leave --format out, or record a baseline that holds {found}",
        )
    return found or given or ""

"""Publishing: artifacts and manifests that are whole get their final names together, or what was there before stays.

```
  scratch/new/NAME ── rename ──▶ out/NAME          out/NAME of before ──▶ scratch/old/NAME, back where a step fails
```
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.atomic import commit, refuse_existing, to_disk, write_failed
from edgeproof.export.folder import refuse_existing_folder
from edgeproof.export.manifest import manifest_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NEW, OLD = "new", "old"
"""Folders in the scratch folder: what is to get its name, and what it replaces."""


class _File(NamedTuple):
    """A file or folder to be named, and how it is told from another of that name."""

    name: str
    inode: int
    written: int  # ns; a rename or a link changes neither


def publish(scratch: Path, targets: Sequence[Path], *, force: bool) -> None:
    """Give each of `targets` and its manifest, which lie complete in `scratch`/new, their names in the same folder.

    A manifest that lies there without its artifact is replaced without `force`, too.

    Raises:
        OutputError: a target exists and `force` is not given, or a name cannot be given; all is then as it was.

    """
    (scratch / OLD).mkdir()
    paths = [path for target in targets for path in (target, manifest_path(target))]
    files = [_identified(scratch / NEW / path.name) for path in paths]
    at = paths[0]
    try:
        for at in paths:
            _put(scratch, at, force=force or at not in targets)
    except BaseException as error:
        _undo(scratch, at.parent, files)
        if isinstance(error, OSError):
            raise write_failed(at, error) from error
        raise


def _put(scratch: Path, target: Path, *, force: bool) -> None:
    source, kept = scratch / NEW / target.name, scratch / OLD / target.name
    folder = source.is_dir()
    (refuse_existing_folder if folder else refuse_existing)(target, force=force)
    if force and os.path.lexists(target):
        if folder:
            target.rename(kept)
        else:
            _keep(target, kept)
    if folder:
        source.rename(target)  # fails where a folder with files has come into being since
        to_disk(target.parent)
    else:
        commit(source, target, force=force)


def _keep(target: Path, kept: Path) -> None:
    """Give the file `target` a second name, so that its first one is never missing."""
    try:
        os.link(target, kept, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without hard links
        target.rename(kept)


def _undo(scratch: Path, out: Path, files: Sequence[_File]) -> None:
    """Take back the names that `files` have got, and give back those that they took."""
    for file in reversed(files):
        target, kept = out / file.name, scratch / OLD / file.name
        ours = os.path.lexists(target) and _identified(target) == file
        if ours and target.is_dir():
            target.rename(scratch / NEW / file.name)
        if os.path.lexists(kept) and (ours or not os.path.lexists(target)):
            kept.replace(target)
        elif ours:
            target.unlink(missing_ok=True)
    to_disk(out)


def _identified(path: Path) -> _File:
    state = path.lstat()
    return _File(path.name, state.st_ino, state.st_mtime_ns)

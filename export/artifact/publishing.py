"""Publishing: artifacts and manifests that are whole get their final names together, or what was there before stays.

```
  scratch/new/NAME ── rename ──▶ out/NAME          out/NAME of before ──▶ scratch/old/NAME, back where a step fails
```
Before the first rename a journal in the scratch folder says which files are to be named; it is removed after the last.
A process that is killed between leaves the journal, and the next export to one of the names finds out by it whether
all files have their names, and takes them back where not. Only whole files ever have a final name; what is not whole is
the set.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.atomic import commit, refuse_existing, to_disk, write_failed
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.scratch import PREFIX, UNSETTLED, dead
from edgeproof.export.artifact.claims import claimed
from edgeproof.export.artifact.folder import refuse_existing_folder
from edgeproof.export.artifact.manifest import manifest_path

if TYPE_CHECKING:
    from collections.abc import Sequence

NEW, OLD = "new", "old"
"""Folders in the scratch folder: what is to get its name, and what it replaces."""


class _File(NamedTuple):
    """A file or folder to be named, and how it is told from another of that name."""

    name: str
    inode: int
    written: int  # ns; a rename or a link changes neither


class _Journal(NamedTuple):
    """What a process is publishing: the artifacts, and all files to be named."""

    targets: tuple[str, ...]
    files: tuple[_File, ...]


def publish(scratch: Path, targets: Sequence[Path], *, force: bool) -> None:
    """Give each of `targets` and its manifest, which lie complete in `scratch`/new, their names in the same folder.

    A manifest that lies there without its artifact is replaced without `force`, too.

    Raises:
        OutputError: a target exists and `force` is not given, or a name cannot be given; all is then as it was.

    """
    paths = [path for target in targets for path in (target, manifest_path(target))]
    files = [_identified(scratch / NEW / path.name) for path in paths]
    at = paths[0]
    try:
        (scratch / OLD).mkdir()
        _write_journal(scratch, [target.name for target in targets], files)
        for at in paths:
            _put(scratch, at, force=force or at not in targets)
        (scratch / UNSETTLED).unlink()
    except BaseException as error:
        _undo(scratch, at.parent, files)
        (scratch / UNSETTLED).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_failed(at, error) from error
        raise


def settle(out: Path, held: Sequence[Path]) -> None:
    """Take back what killed exports have published of sets of files in `out` that are not whole.

    Args:
        out: the folder.
        held: claimed paths in it. Sets are settled that share no name with an export that runs.

    Raises:
        OutputError: a name cannot be taken back.

    """
    names = {path.name for path in held}
    for scratch in sorted(out.glob(f"{PREFIX}*")):
        # The journal's writer holds its names and its folder while it lives.
        if (journal := _read_journal(scratch)) is None:
            continue
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(claimed(out / name for name in journal.targets if name not in names))
                nobodys = stack.enter_context(dead(scratch, folder=True))
            except (OutputError, FileNotFoundError):
                continue
            if nobodys and _read_journal(scratch) is not None:
                _settle(scratch, out, journal.files)


def _settle(scratch: Path, out: Path, files: Sequence[_File]) -> None:
    try:
        if not all(_is(out / file.name, file) for file in files):
            _undo(scratch, out, files)
        (scratch / UNSETTLED).unlink()
    except OSError as error:
        raise write_failed(out, error) from error
    shutil.rmtree(scratch, ignore_errors=True)


def _write_journal(scratch: Path, targets: Sequence[str], files: Sequence[_File]) -> None:
    begun = scratch / "begun.json"
    begun.write_text(json.dumps({"targets": targets, "files": files}))
    to_disk(begun)
    begun.rename(scratch / UNSETTLED)
    to_disk(scratch)


def _read_journal(scratch: Path) -> _Journal | None:
    """Read what a process, dead or alive, is publishing from `scratch`; None where it is not publishing."""
    try:
        if scratch.is_symlink() or (hasattr(os, "geteuid") and scratch.stat().st_uid != os.geteuid()):
            return None
        content = json.loads((scratch / UNSETTLED).read_bytes())
        journal = _Journal(tuple(content["targets"]), tuple(_File(*file) for file in content["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    names = (*journal.targets, *(file.name for file in journal.files))
    return journal if all(isinstance(name, str) and Path(name).name == name for name in names) else None


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
        ours = _is(target, file)
        if ours and target.is_dir():
            target.rename(scratch / NEW / file.name)
        if os.path.lexists(kept) and (ours or not os.path.lexists(target)):
            kept.replace(target)
        elif ours:
            target.unlink(missing_ok=True)
    to_disk(out)


def _is(path: Path, file: _File) -> bool:
    return os.path.lexists(path) and _identified(path) == file


def _identified(path: Path) -> _File:
    state = path.lstat()
    return _File(path.name, state.st_ino, state.st_mtime_ns)

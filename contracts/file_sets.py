"""Sets of files that get their final names together: all of them, or none.

```
  scratch/new/NAME ── rename ──▶ folder/NAME          replaced folder/NAME ──▶ scratch/old/NAME, restored on failure
```
A journal in the scratch folder lists the files before the first rename and is removed after the last. A process killed
in between leaves the journal; the next run to that folder reads it, and undoes the renames unless all were done
(`settle`). A file under a final name is always complete; only the set can be incomplete, until that run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.atomic import commit, refuse_existing, to_disk, write_failed
from edgeproof.contracts.interruptions import held_back
from edgeproof.contracts.scratch import PREFIX, UNSETTLED, dead, remove_dead_folders, scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

NEW, OLD = "new", "old"
"""Subfolders of a scratch folder: what is to get its final name, complete, and what that replaces or removes."""


class Piece(NamedTuple):
    """A file or folder of a set, with the attributes that distinguish it from another of that name."""

    name: str
    inode: int
    written: int  # ns; unchanged by a rename or a link

    @classmethod
    def of(cls, path: Path) -> Piece:
        """Describe the file or folder at `path`."""
        state = path.lstat()
        return cls(path.name, state.st_ino, state.st_mtime_ns)

    def is_at(self, path: Path) -> bool:
        """Whether `path` is this file or folder, and not another process's of that name."""
        return os.path.lexists(path) and Piece.of(path) == self


class Journal(NamedTuple):
    """The files that a process is naming, and those of them that it holds claims on (export/artifact/claims.py)."""

    targets: tuple[str, ...]
    files: tuple[Piece, ...]


def write_all(folder: Path, contents: Mapping[str, bytes], *, force: bool, without: Iterable[str] = ()) -> None:
    """Write files that belong together into `folder`: all or none; a failure with `force` restores replaced files.

    The first of `contents` is renamed last: if it exists, all do. Files named in `without` are removed with it.

    Raises:
        OutputError: a file exists and `force` is not given, or a file cannot be written.

    """
    settle(folder)
    paths = [folder / name for name in reversed(list(contents))]
    for path in paths:
        refuse_existing(path, force=force)
    at = folder
    try:
        with scratch_folder(folder) as scratch:
            (scratch / NEW).mkdir()
            for at in paths:
                (scratch / NEW / at.name).write_bytes(contents[at.name])
                to_disk(scratch / NEW / at.name)
            name_all(
                scratch,
                paths,
                lambda path: put(scratch, path, force=force),
                removed=[folder / name for name in without if force],
            )
    except OSError as error:
        raise write_failed(at, error) from error


def name_all(
    scratch: Path,
    paths: Sequence[Path],
    give: Callable[[Path], None],
    *,
    targets: Sequence[str] = (),
    removed: Sequence[Path] = (),
) -> None:
    """Call `give` on each of `paths`, whose contents are complete in `scratch`/new; undo all of them if one fails.

    An interruption waits until all have their names.

    Args:
        scratch: this process's scratch folder beside them.
        paths: the final names, in one folder, in the order in which they are given.
        give: gives one its name, with `put`.
        targets: the names that this process holds claims on.
        removed: files that go with the old set, where they exist.

    Raises:
        OutputError: a name is taken, or a rename failed; nothing is then changed.

    """
    at, folder = paths[0], paths[0].parent
    files = [Piece.of(scratch / NEW / path.name) for path in paths]
    with held_back():
        try:
            (scratch / OLD).mkdir()
            _write_journal(scratch, targets, files)
            for at in filter(os.path.lexists, removed):
                at.rename(scratch / OLD / at.name)
            for at in paths:
                give(at)
            (scratch / UNSETTLED).unlink()
        except BaseException as error:
            undo(scratch, folder, files)
            (scratch / UNSETTLED).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise write_failed(at, error) from error
            raise


def put(scratch: Path, target: Path, *, force: bool) -> None:
    """Give `scratch`/new/NAME its final name `target`; what it replaces is kept in `scratch`/old.

    Raises:
        OutputError: the file `target` exists and `force` is not given.
        OSError: a rename failed; a folder with files exists.

    """
    source, kept = scratch / NEW / target.name, scratch / OLD / target.name
    folder = source.is_dir()
    if force and os.path.lexists(target):
        if folder:
            target.rename(kept)
        else:
            _keep(target, kept)
    if folder:
        source.rename(target)  # fails if a folder with files was created in the meantime
        to_disk(target.parent)
    else:
        commit(source, target, force=force)


def undo(scratch: Path, out: Path, pieces: Sequence[Piece]) -> None:
    """Remove the new names of `pieces`, last to first, and restore what is in `scratch`/old."""
    for piece in reversed(pieces):
        target, kept = out / piece.name, scratch / OLD / piece.name
        ours = piece.is_at(target)
        if ours and target.is_dir():
            target.rename(scratch / NEW / piece.name)
        if os.path.lexists(kept) and (ours or not os.path.lexists(target)):
            kept.replace(target)
        elif ours:
            target.unlink(missing_ok=True)
    for removed in (scratch / OLD).glob("*"):
        if not os.path.lexists(out / removed.name):
            removed.rename(out / removed.name)
    to_disk(out)


def settle(folder: Path) -> None:
    """Undo the incomplete `write_all` of killed processes in `folder`, and remove their temporary folders.

    Sets whose names are claimed are left to their owner's rule (export/artifact/publishing.py).

    Raises:
        OutputError: a rename cannot be undone.

    """
    for scratch in sorted(folder.glob(f"{PREFIX}*")):
        journal = read_journal(scratch)
        if journal is not None and not journal.targets:
            with contextlib.suppress(FileNotFoundError):
                recover(scratch, folder)
    remove_dead_folders(folder)


def recover(scratch: Path, folder: Path) -> None:
    """Undo the renames that the journal in `scratch` lists, unless all were done or its process lives.

    Raises:
        FileNotFoundError: its process has just removed it.
        OutputError: a rename cannot be undone.

    """
    with dead(scratch, folder=True) as nobodys:
        journal = read_journal(scratch)
        if not nobodys or journal is None:
            return
        try:
            if not all(file.is_at(folder / file.name) for file in journal.files):
                undo(scratch, folder, journal.files)
            (scratch / UNSETTLED).unlink()
        except OSError as error:
            raise write_failed(folder, error) from error
        shutil.rmtree(scratch, ignore_errors=True)


def read_journal(scratch: Path) -> Journal | None:
    """Read the journal of a process, dead or alive, in `scratch`; None if it is not naming files."""
    try:
        if scratch.is_symlink() or (hasattr(os, "geteuid") and scratch.stat().st_uid != os.geteuid()):
            return None
        content = json.loads((scratch / UNSETTLED).read_bytes())
        journal = Journal(tuple(content["targets"]), tuple(Piece(*file) for file in content["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    names = (*journal.targets, *(file.name for file in journal.files))
    return journal if all(isinstance(name, str) and Path(name).name == name for name in names) else None


def _write_journal(scratch: Path, targets: Sequence[str], files: Sequence[Piece]) -> None:
    begun = scratch / "begun.json"
    begun.write_text(json.dumps({"targets": targets, "files": files}))
    to_disk(begun)
    begun.rename(scratch / UNSETTLED)
    to_disk(scratch)


def _keep(target: Path, kept: Path) -> None:
    """Link the file `target` to a second name, so that its first name never disappears."""
    try:
        os.link(target, kept, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without hard links
        target.rename(kept)

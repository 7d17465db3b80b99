"""Atomic publishing: all artifacts and manifests of an export get their final names, or none do.

```
  scratch/new/NAME ── rename ──▶ out/NAME          replaced out/NAME ──▶ scratch/old/NAME, restored if a step fails
```
A journal in the scratch folder lists the files before the first rename and is removed after the last. A process killed
in between leaves the journal; the next export to one of the names reads it, and undoes the renames unless all were
done. A file under a final name is always complete; only the set can be incomplete.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.atomic import NEW, OLD, Piece, put, refuse_existing, to_disk, undo, write_failed
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.scratch import PREFIX, UNSETTLED, dead, remove_dead_folders
from edgeproof.export.artifact.claims import claimed
from edgeproof.export.artifact.folder import refuse_existing_folder
from edgeproof.export.artifact.manifest import manifest_path

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Journal(NamedTuple):
    """The files that a process is publishing: the artifacts, and all files to be named."""

    targets: tuple[str, ...]
    files: tuple[Piece, ...]


def publish(scratch: Path, targets: Sequence[Path], *, force: bool) -> None:
    """Move each of `targets` and its manifest from `scratch`/new, where they are complete, to their final names.

    A manifest without its artifact is replaced even without `force`.

    Raises:
        OutputError: a target exists and `force` is not given, or a rename failed; nothing is then changed.

    """
    paths = [path for target in targets for path in (target, manifest_path(target))]
    files = [Piece.of(scratch / NEW / path.name) for path in paths]
    at = paths[0]
    try:
        (scratch / OLD).mkdir()
        _write_journal(scratch, [target.name for target in targets], files)
        for at in paths:
            _put(scratch, at, force=force or at not in targets)
        (scratch / UNSETTLED).unlink()
    except BaseException as error:
        undo(scratch, at.parent, files)
        (scratch / UNSETTLED).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_failed(at, error) from error
        raise


def settle(out: Path, held: Sequence[Path]) -> None:
    """Undo the incomplete publishing of killed exports in `out`, and remove their temporary folders.

    Args:
        out: the folder.
        held: claimed paths in it. Sets that share a name with a running export are skipped.

    Raises:
        OutputError: a rename cannot be undone.

    """
    names = {path.name for path in held}
    for scratch in sorted(out.glob(f"{PREFIX}*")):
        # The journal's writer locks its names and its folder while it runs.
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
    remove_dead_folders(out)


def _settle(scratch: Path, out: Path, files: Sequence[Piece]) -> None:
    try:
        if not all(file.is_at(out / file.name) for file in files):
            undo(scratch, out, files)
        (scratch / UNSETTLED).unlink()
    except OSError as error:
        raise write_failed(out, error) from error
    shutil.rmtree(scratch, ignore_errors=True)


def _write_journal(scratch: Path, targets: Sequence[str], files: Sequence[Piece]) -> None:
    begun = scratch / "begun.json"
    begun.write_text(json.dumps({"targets": targets, "files": files}))
    to_disk(begun)
    begun.rename(scratch / UNSETTLED)
    to_disk(scratch)


def _read_journal(scratch: Path) -> _Journal | None:
    """Read the journal of a process, dead or alive, in `scratch`; None if it is not publishing."""
    try:
        if scratch.is_symlink() or (hasattr(os, "geteuid") and scratch.stat().st_uid != os.geteuid()):
            return None
        content = json.loads((scratch / UNSETTLED).read_bytes())
        journal = _Journal(tuple(content["targets"]), tuple(Piece(*file) for file in content["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    names = (*journal.targets, *(file.name for file in journal.files))
    return journal if all(isinstance(name, str) and Path(name).name == name for name in names) else None


def _put(scratch: Path, target: Path, *, force: bool) -> None:
    refuse = refuse_existing_folder if (scratch / NEW / target.name).is_dir() else refuse_existing
    refuse(target, force=force)
    put(scratch, target, force=force)

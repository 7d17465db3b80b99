"""Atomic publishing: all artifacts and manifests of an export get their final names, or none do.

The set is one of `contracts/file_sets.py`; its journal names the targets, which the export holds claims on.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import refuse_existing
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.file_sets import NEW, name_all, put, read_journal, recover
from edgeproof.contracts.scratch import PREFIX, remove_dead_folders
from edgeproof.export.artifact.claims import claimed
from edgeproof.export.artifact.folder import refuse_existing_folder
from edgeproof.export.artifact.manifest import manifest_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def publish(scratch: Path, targets: Sequence[Path], *, force: bool) -> None:
    """Move each of `targets` and its manifest from `scratch`/new, where they are complete, to their final names.

    A manifest without its artifact is replaced even without `force`.

    Raises:
        OutputError: a target exists and `force` is not given, or a rename failed; nothing is then changed.

    """
    paths = [path for target in targets for path in (target, manifest_path(target))]
    names = [target.name for target in targets]
    name_all(scratch, paths, lambda path: _put(scratch, path, force=force or path not in targets), targets=names)


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
        if (journal := read_journal(scratch)) is None:
            continue
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(claimed(out / name for name in journal.targets if name not in names))
            except OutputError:
                continue
            with contextlib.suppress(FileNotFoundError):
                recover(scratch, out)
    remove_dead_folders(out)


def _put(scratch: Path, target: Path, *, force: bool) -> None:
    refuse = refuse_existing_folder if (scratch / NEW / target.name).is_dir() else refuse_existing
    refuse(target, force=force)
    put(scratch, target, force=force)

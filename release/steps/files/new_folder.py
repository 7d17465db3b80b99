"""Writes a folder of files that appears under its name when it is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import to_disk, write_failed
from edgeproof.contracts.file_sets import NEW, name_all, put, settle
from edgeproof.contracts.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_folder(target: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Write `files`, by their paths inside, into the folder `target`; one that has files is replaced with `force`."""
    try:
        settle(target.parent)
        with scratch_folder(target.parent) as scratch:
            made = scratch / NEW / target.name
            made.mkdir(parents=True)
            for name, content in files.items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).write_bytes(content)
                to_disk(made / name)
            if target.is_dir() and not any(target.iterdir()):
                target.rmdir()
            name_all(scratch, [target], lambda path: put(scratch, path, force=force))
    except OSError as error:
        raise write_failed(target, error) from error

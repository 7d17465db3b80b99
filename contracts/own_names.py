"""Names of given files and folders that manifests, artifacts and reports repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def refuse_unwritable_name(path: Path) -> None:
    """Refuse a base or an adapter whose own name is not UTF-8: no manifest, GGUF or card could hold it.

    The folders above it may have any names.

    Raises:
        InputError: the name, links resolved, is not UTF-8.

    """
    name = path.resolve().name
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the name of {path} is not UTF-8 (character {error.start + 1}), and what is made of it repeats that name",
            next_step="rename it",
        ) from error

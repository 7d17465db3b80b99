"""Names the artifacts, and takes them back if an export fails before all are there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import refuse_existing, write_failed
from edgeproof.export.claims import claimed
from edgeproof.export.folder import refuse_existing_folder, remove_folder
from edgeproof.export.manifest import manifest_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgeproof.export.formats import Format


@dataclass(frozen=True)
class Targets:
    """Final names: of the artifacts, in the order of their formats, and of the adapter beside an unmerged base."""

    artifacts: tuple[Path, ...]
    lora: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return (*self.artifacts, *((self.lora,) if self.lora else ()))


@contextlib.contextmanager
def prepared_targets(
    out: Path, name: str, formats: Sequence[Format], *, unmerged: bool, merged: bool, force: bool
) -> Iterator[Targets]:
    """Name the files and folders, make `out`, and keep other exports from the names while the block runs.

    What exists is refused before any work is done.

    Raises:
        OutputError: a target exists and `force` is not given, another export is writing one, or `out` cannot be made.

    """
    stem = f"{name}-unlearned" if merged and not unmerged else name
    artifacts = tuple(out / f"{stem}-{form.scheme}{form.suffix}" for form in formats)
    lora = out / f"{name}-adapter-lora.gguf" if unmerged else None
    targets = Targets(artifacts, lora)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failed(out, error) from error
    with claimed(targets.paths):
        for path in targets.paths:
            refuse = refuse_existing if path.suffix == ".gguf" else refuse_existing_folder
            refuse(path, force=force)
        yield targets


@contextlib.contextmanager
def all_or_none(targets: Targets) -> Iterator[None]:
    """Remove what this export has put under final names, if it fails before all have their manifests."""
    before = {path: _file_number(path) for path in targets.paths}
    try:
        yield
    except BaseException:
        for path, number in before.items():
            if _file_number(path) in {None, number}:
                continue
            if path.is_dir():
                remove_folder(path)
            else:
                path.unlink(missing_ok=True)
            manifest_path(path).unlink(missing_ok=True)
        raise


def _file_number(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None

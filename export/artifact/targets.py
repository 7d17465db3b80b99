"""Names of the artifacts, claimed against other exports."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import refuse_existing, write_failed
from edgeproof.export.artifact.claims import claimed, remove_dead_claims
from edgeproof.export.artifact.folder import refuse_existing_folder
from edgeproof.export.artifact.manifest import manifest_path
from edgeproof.export.artifact.publishing import settle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgeproof.export.formats import Format


@dataclass(frozen=True)
class Targets:
    """Final names of the artifacts, in the order of their formats, and of the adapter beside an unmerged base."""

    artifacts: tuple[Path, ...]
    lora: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All final names."""
        return (*self.artifacts, *((self.lora,) if self.lora else ()))


@contextlib.contextmanager
def prepared_targets(
    out: Path, name: str, formats: Sequence[Format], *, unmerged: bool, merged: bool, force: bool
) -> Iterator[Targets]:
    """Name the files and folders, make `out`, and claim the names while the block runs.

    Existing targets are refused before any work is done; half-published sets of killed exports are undone first.

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
        settle(out, targets.paths)
        remove_dead_claims(out)
        for path in targets.paths:
            refuse = refuse_existing if path.suffix == ".gguf" else refuse_existing_folder
            refuse(path, force=force)
            refuse_existing(manifest_path(path), force=True)
        yield targets

"""Writes the part of a pack that a model knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.eval.measurement import Measurement
    from edgeproof.eval.packs.pack import Pack


class KnownPack:
    """A pack's folder that is to be written. What speaks against it is refused before a model is asked.

    Args:
        source: the whole pack's folder.
        target: the folder to write.

    Raises:
        OutputError: `target` has files already.
        PackError: the pack is encrypted, or in a format that cannot be cut down.

    """

    def __init__(self, source: Path, target: Path) -> None:
        from edgeproof.eval.knowledge.known_part import pack_folder_files

        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise OutputError(f"{target} exists", next_step="give another folder, or remove it")
        self._files, self._target = pack_folder_files(source), target

    def write(self, pack: Pack, measurement: Measurement) -> None:
        """Write the probes whose answer comes out on any surface, by the gate's leak rule; all holdout probes."""
        from edgeproof.eval.authoring.known import what_it_knows
        from edgeproof.eval.knowledge.known_part import known_part
        from edgeproof.release.steps.files.new_folder import write_folder

        known = what_it_knows(measurement.label, pack, [measurement]).probes
        write_folder(self._target.absolute(), known_part(self._files, known), force=False)

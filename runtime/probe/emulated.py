"""The backend "arm64-emulated": the phone's program on this machine, under qemu's user emulation.

The processor is qemu's default, the most capable one, or the one that QEMU_CPU names (cortex-a53, cortex-a76).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.probe.backend import DEFAULT_PATIENCE, Probe, refuse_unsupported
from edgeproof.runtime.probe.launch import VARIANTS, Launch, best_variant, program_in, sha256

if TYPE_CHECKING:
    from collections.abc import Callable

EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
SLOWER = 5
"""How much longer than a device an emulated one may take for an answer."""


def arm64_emulated(
    artifact: Path,
    *,
    engine: str,
    lora: Path | None = None,
    context_length: int | None = None,
    threads: int | None = None,
    beat: Callable[[], None] = no_beat,
) -> Probe:
    """Open `artifact` in the best variant of the probe that the emulated processor runs.

    Args:
        artifact: a GGUF.
        engine: the folder that `make phone` wrote.
        lora: must be None.
        context_length: tokens that the longest request may have.
        threads: threads that compute.
        beat: called as work goes on; may raise to stop it.

    Raises:
        UnsupportedError: no emulator, a LoRA, or no GGUF file.
        InputError: the folder has no probe.
        ArtifactError: the artifact cannot be loaded.
        BackendError: the probe died, hung or made no sense.

    """
    refuse_unsupported(artifact, lora)
    least = program_in(Path(engine), VARIANTS[0])
    emulator = next(filter(None, map(shutil.which, EMULATORS)), None)
    if emulator is None:
        raise UnsupportedError(
            f"none of {', '.join(EMULATORS)} is installed", next_step="Debian: apt-get install qemu-user-static"
        )
    patience = SLOWER * DEFAULT_PATIENCE
    variant = best_variant([emulator, str(least)], patience=patience, beat=beat)
    program = program_in(Path(engine), variant)
    version = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    digest = sha256(program, beat)
    launch = Launch(
        command=[emulator, str(program)],
        model=str(artifact.absolute()),
        journal=str(_journals() / f"{sha256(artifact, beat)[:32]}-{digest[:8]}"),
        processor=f"ARM64, emulated: {version}, processor {os.environ.get('QEMU_CPU', 'max')}",
        options={"through": "the probe under emulation", "probe": f"{variant}, sha256 {digest}"},
    )
    return Probe(artifact, launch, context_length=context_length, threads=threads, patience=patience, beat=beat)


def _journals() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(home) if home else Path.home() / ".cache") / "edgeproof" / "probe"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder

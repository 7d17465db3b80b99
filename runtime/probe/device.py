"""The backend "adb": the probe on an Android device that is connected to this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.probe.adb import FOLDER, Device
from edgeproof.runtime.probe.backend import Probe, refuse_unsupported
from edgeproof.runtime.probe.launch import VARIANTS, Launch, best_variant, program_in, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ABI = "arm64-v8a"
ANSWER_SECONDS = 60.0
"""Patience for what needs no model."""


def over_adb(
    artifact: Path,
    *,
    engine: str,
    lora: Path | None = None,
    context_length: int | None = None,
    threads: int | None = None,
    beat: Callable[[], None] = no_beat,
) -> Probe:
    """Push probe and artifact to the device, compare their digests there, and open the artifact in the probe.

    Args:
        artifact: a GGUF.
        engine: the folder that `make phone` wrote.
        lora: must be None.
        context_length: tokens that the longest request may have.
        threads: threads that compute; by default the device's, at most 4.
        beat: called as work goes on; may raise to stop it.

    Raises:
        UnsupportedError: no adb, another processor than ARM64, a LoRA, or no GGUF file.
        InputError: the folder has no probe.
        ArtifactError: the artifact cannot be loaded there.
        BackendError: no device, several, no room; or the probe or the device is gone.

    """
    refuse_unsupported(artifact, lora)
    folder = Path(engine)
    least = program_in(folder, VARIANTS[0])
    device = Device(beat)
    properties = device.properties()
    abi = properties.get("ro.product.cpu.abi", "unknown")
    if abi != ABI:
        raise UnsupportedError(f"the device's ABI is {abi}; the probe is built for {ABI}")
    there = device.push(least, least.name, program=True)
    variant = best_variant(device.command(there), patience=ANSWER_SECONDS, beat=beat)
    program = program_in(folder, variant)
    digest = sha256(artifact, beat)
    launch = Launch(
        command=device.command(device.push(program, program.name, program=True)),
        model=device.push(artifact, f"{digest}.gguf"),
        journal=f"{FOLDER}/{digest}.answers",
        processor=_processor(properties),
        options={
            "through": "the probe over adb",
            "probe": f"{variant}, sha256 {sha256(program, beat)}",
            **_described(properties),
        },
        reason=device.reason,
    )
    return Probe(artifact, launch, context_length=context_length, threads=threads, beat=beat)


def _processor(properties: Mapping[str, str]) -> str:
    soc = " ".join(filter(None, (properties.get(f"ro.soc.{name}", "") for name in ("manufacturer", "model"))))
    soc = soc or properties.get("ro.board.platform", "") or "a processor that is not told"
    return f"{soc}, in {_device(properties)}, {properties.get('ro.build.fingerprint', 'build unknown')}"


def _device(properties: Mapping[str, str]) -> str:
    names = (properties.get(f"ro.product.{name}", "") for name in ("manufacturer", "model"))
    return " ".join(filter(None, names)) or "a device without name"


def _described(properties: Mapping[str, str]) -> dict[str, str]:
    release, level = (properties.get(f"ro.build.version.{name}", "unknown") for name in ("release", "sdk"))
    graphics = properties.get("ro.hardware.vulkan") or properties.get("ro.hardware.egl") or "not told"
    return {
        "device": _device(properties),
        "Android": f"{release}, API level {level}",
        "ABI": properties.get("ro.product.cpu.abi", "unknown"),
        "graphics driver, not used": graphics,
    }

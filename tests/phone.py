"""Fixtures: the phone's programs, and a device on which they run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

PROPERTIES = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 8",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.soc.manufacturer": "Google",
    "ro.soc.model": "Tensor G3",
    "ro.build.version.release": "15",
    "ro.build.version.sdk": "35",
    "ro.build.fingerprint": "google/shiba/shiba:15/AP4A/1:user/release-keys",
    "ro.hardware.vulkan": "mali",
}
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def phone() -> Path:
    """The folder that `make phone` wrote, here or where EDGEPROOF_PHONE says."""
    folder = Path(os.environ.get("EDGEPROOF_PHONE") or ROOT / ".cache" / "phone")
    missing = [name for name in ("probe-v8.0", "probe-dotprod", "probe-i8mm") if not (folder / name).is_file()]
    why = f"{folder} has no {', '.join(missing)}: run `make phone`" if missing else ""
    if not (shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")):
        why = "there is no qemu-aarch64: apt-get install qemu-user-static"
    if why and os.environ.get("EDGEPROOF_PHONE"):
        pytest.fail(why)
    if why:
        pytest.skip(why)
    return folder


class Fake:
    """The device: its state, and the files on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "device").mkdir()
        shutil.copy(Path(__file__).with_name("fake_adb.py"), folder)
        program = folder / "adb"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{folder / "fake_adb.py"}" "$@"\n')
        program.chmod(0o700)
        self.set()

    def set(self, **state: object) -> None:
        """Start anew with this state."""
        plain = {"devices": {"8A1X": "device"}, "properties": PROPERTIES}
        (self.folder / "state.json").write_text(json.dumps(plain | state))

    @property
    def files(self) -> Path:
        """Where the device has the gate's files."""
        return self.folder / "device" / "edgeproof"

    @property
    def pushed(self) -> list[str]:
        """Names of the files that were copied, in order."""
        log = self.folder / "pushed"
        return [Path(line).name for line in log.read_text().splitlines()] if log.is_file() else []


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A connected device; `adb` on the path speaks to it."""
    folder = tmp_path / "adb"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Fake(folder)

"""One Android device over `adb`: which it is, its properties, files pushed to it and compared there.

adb is the client of the Android SDK; ANDROID_SERIAL chooses among several devices, as for adb itself.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import BackendError, UnsupportedError
from edgeproof.runtime.probe.launch import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FOLDER = "/data/local/tmp/edgeproof"
"""Where programs of `adb shell` may be run. It is closed to all others: apps may read /data/local/tmp."""

STATES = {
    "offline": ("is offline", "unplug it and plug it in again, or run `adb reconnect`"),
    "unauthorized": ("has not authorized this computer", "unlock it, and allow USB debugging in its dialogue"),
    "no permissions": (
        "may not be opened by this user",
        "set up udev rules for it: developer.android.com/studio/run/device",
    ),
}
SLOWEST = 1.0
"""Seconds between two beats."""

SPARE = 64 << 20
"""Bytes that stay free on the device."""

KILLED, TERMINATED = 137, 143


class Finished(NamedTuple):
    """How an adb command ended."""

    status: int
    out: str
    error: str


class Device:
    """The one device that is connected, or that ANDROID_SERIAL names.

    Raises:
        UnsupportedError: there is no adb.
        BackendError: no device, several, or one that is offline or unauthorized.

    """

    def __init__(self, beat: Callable[[], None]) -> None:
        adb = shutil.which("adb")
        if adb is None:
            raise UnsupportedError(
                "there is no adb on the path",
                next_step="install the Android SDK platform tools; Debian: apt-get install adb",
            )
        self._adb, self._beat = adb, beat
        self.serial = self._chosen()

    def command(self, *words: str) -> list[str]:
        """Return the command that runs `words` on the device."""
        return [self._adb, "-s", self.serial, "shell", "-T", shlex.join(words)]

    def shell(self, *words: str) -> str:
        """Run a command on the device and return what it printed.

        Raises:
            BackendError: it failed, or the device is gone.

        """
        done = self.run(*words)
        if done.status != 0:
            raise self.failed(f"`{words[0]}` on the device", done)
        return done.out

    def run(self, *words: str, source: Path | None = None, idle: Callable[[], None] | None = None) -> Finished:
        """Run a command on the device, with the file `source` as its input, and say how it ended.

        `idle` is called about once a second meanwhile.
        """
        return self._run(self.command(*words), source=source, idle=idle)

    def install(self, package: Path) -> None:
        """Install an APK, or a newer one over the same app; its data stay.

        Raises:
            BackendError: Android refuses it, or the device is gone.

        """
        done = self._run([self._adb, "-s", self.serial, "install", "-r", "-t", str(package)])
        if done.status != 0 or "Failure" in done.out + done.error:
            raise self.failed(f"installing {package.name}", done)

    def properties(self) -> Mapping[str, str]:
        """Return the system properties."""
        return dict(re.findall(r"^\[([^\]]+)\]: \[([^\]]*)\]", self.shell("getprop"), re.MULTILINE))

    def digest(self, path: str) -> str:
        """Return the sha256 of a file on the device, by the device; "" where there is none."""
        done = self._run(self.command("sha256sum", path))
        if done.status == 0:
            return done.out.split(" ")[0].strip()
        if self.gone():
            raise self.failed("sha256sum", done)
        return ""

    def push(self, source: Path, name: str, *, program: bool = False) -> str:
        """Copy a file into FOLDER where it is not there already, compare digests there, and return its path.

        Raises:
            BackendError: no room, the device is gone, or its copy differs.

        """
        target, wanted = f"{FOLDER}/{name}", sha256(source, self._beat)
        if self.digest(target) != wanted:
            self.shell("mkdir", "-p", FOLDER)
            self.shell("chmod", "700", FOLDER)
            self.refuse_full(source)
            part = f"{target}.part"
            done = self._run([self._adb, "-s", self.serial, "push", str(source), part])
            if done.status != 0:
                self._run(self.command("rm", "-f", part))
                raise self.failed(f"copying {source.name} to the device", done)
            found = self.digest(part)
            if found != wanted:
                self._run(self.command("rm", "-f", part))
                raise BackendError(
                    f"the copy of {source.name} on the device differs: sha256 {found[:12] or 'none'}… there, "
                    f"{wanted[:12]}… here",
                    next_step="try another cable, and gate again",
                )
            self.shell("mv", part, target)
        if program:
            self.shell("chmod", "700", target)
        return target

    def gone(self) -> str:
        """Say why the device cannot be used any more; "" where it can."""
        done = self._run([self._adb, "-s", self.serial, "get-state"])
        if done.status == 0 and done.out.strip() == "device":
            return ""
        known = next((words for state, (words, _) in STATES.items() if state in done.out + done.error), "")
        return f"the device {known}" if known else "the device was unplugged"

    def reason(self, status: int) -> str:
        """Say why a program on the device ended with `status`; "" where that is not known."""
        if gone := self.gone():
            return gone
        if status in {KILLED, TERMINATED, -9, -15}:
            return f"Android killed the probe (status {status}), as a rule for want of memory"
        return ""

    def _chosen(self) -> str:
        done = self._run([self._adb, "devices"])
        if done.status != 0:
            raise BackendError(f"`adb devices` failed: {_last(done)}", next_step="run `adb kill-server`, then again")
        lines = [line.split("\t", 1) for line in done.out.splitlines() if "\t" in line]
        named = os.environ.get("ANDROID_SERIAL")
        found = {serial: state for serial, state in lines if named in {None, "", serial}}
        if not found:
            what = f"no device {named} is connected" if named else "no device is connected"
            raise BackendError(what, next_step="plug it in, allow USB debugging, and look at `adb devices`")
        if len(found) > 1:
            raise BackendError(
                f"{len(found)} devices are connected: {', '.join(sorted(found))}",
                next_step="choose one: ANDROID_SERIAL=SERIAL export-edge gate …",
            )
        ((serial, state),) = found.items()
        for word, (what, step) in STATES.items():
            if state.startswith(word):
                raise BackendError(f"the device {serial} {what}", next_step=step)
        if state != "device":
            raise BackendError(f"the device {serial} is in the state {state!r}", next_step="start Android on it")
        return serial

    def refuse_full(self, source: Path, folder: str = FOLDER) -> None:
        """Raise `BackendError` where the device has no room for `source`."""
        fields = self.shell("df", "-k", folder).splitlines()[-1].split()
        size, free = source.stat().st_size, int(fields[3]) * 1024 if len(fields) > 3 and fields[3].isdigit() else None
        if free is not None and free < size + SPARE:
            raise _full(f"{source.name} needs {size / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free")

    def failed(self, what: str, done: Finished) -> BackendError:
        """Return the error of a command that failed: storage full, device gone, or its last words."""
        if "No space left" in done.error + done.out:
            return _full(what)
        if gone := self.gone():
            return BackendError(f"{what} failed: {gone}", next_step="plug it in again, and run the same command again")
        return BackendError(f"{what} failed with {done.status}: {_last(done)}", next_step="mend that, and gate again")

    def _run(
        self, command: list[str], *, source: Path | None = None, idle: Callable[[], None] | None = None
    ) -> Finished:
        with open(os.devnull if source is None else source, "rb") as given:  # noqa: PTH123 (a device or a path)
            process = subprocess.Popen(
                command,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            try:
                while True:
                    try:
                        out, error = process.communicate(timeout=SLOWEST)
                    except subprocess.TimeoutExpired:
                        self._beat()
                        if idle is not None:
                            idle()
                    else:
                        return Finished(process.returncode, out, error)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()


def _full(what: str) -> BackendError:
    return BackendError(
        f"the device's storage is full: {what}",
        next_step=f"free storage; files of earlier gates are in {FOLDER} (adb shell rm -r {FOLDER}) and in the app",
    )


def _last(done: Finished) -> str:
    lines = [line.strip() for line in (done.error or done.out).splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"

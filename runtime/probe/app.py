"""The app on an Android device over adb: installed, given files, run by `am instrument`, and its evidence fetched.

Files are streamed into the app's private folder by `run-as`, which Android allows for debug builds: at no time do they
lie where another app can read them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeproof.contracts.advice import command
from edgeproof.contracts.errors import BackendError, UnsupportedError
from edgeproof.runtime.probe.adb import Device
from edgeproof.runtime.probe.device import ABI
from edgeproof.runtime.probe.launch import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PACKAGE = "org.edgeproof.demo"
INSTRUMENTATION = f"{PACKAGE}/.JobInstrumentation"
PUSH = command("phone-push")
WRITTEN = -1
"""INSTRUMENTATION_CODE of a run whose evidence is written (Activity.RESULT_OK)."""


class Ran(NamedTuple):
    """How a run of the app ended: whether its evidence is written, and the words of its result."""

    written: bool
    result: Mapping[str, str]


class App:
    """The app on the one device that is connected.

    Raises:
        UnsupportedError: there is no adb, or the device is no ARM64.
        BackendError: no device, several, or one that is offline or unauthorized.

    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat, self._device = beat, Device(beat)
        abi = self._device.properties().get("ro.product.cpu.abi", "unknown")
        if abi != ABI:
            raise UnsupportedError(f"the device's ABI is {abi}; the app is built for {ABI}")

    def install(self, package: Path) -> bool:
        """Install the APK unless the very file is installed; return whether it was.

        Raises:
            BackendError: Android refuses it, or what is installed then is another file.

        """
        wanted = sha256(package, self._beat)
        if self._installed() == wanted:
            return False
        self._device.install(package)
        found = self._installed()
        if found != wanted:
            raise BackendError(
                f"the app on the device is another file than {package.name}: sha256 {found[:12] or 'none'}… there, "
                f"{wanted[:12]}… here",
                next_step=f"remove it (adb uninstall {PACKAGE}), and push again",
            )
        return True

    def put(self, source: Path, name: str) -> bool:
        """Stream a file into the app's folder, compare digests there, and return whether it had to be copied.

        Raises:
            BackendError: the app is missing or no debug build, there is no room, or the copy differs.

        """
        wanted = sha256(source, self._beat)
        if self.digest(name) == wanted:
            return False
        folder, part = name.rpartition("/")[0], f"{name}.part"
        self._own("mkdir", "-p", f"files/{folder}")
        self._device.refuse_full(source, "/data")
        done = self._device.run("run-as", PACKAGE, "sh", "-c", f"cat > files/{part}", source=source)
        found = self.digest(part) if done.status == 0 else ""
        if found != wanted:
            self._device.run("run-as", PACKAGE, "rm", "-f", f"files/{part}")
            if done.status != 0:
                raise self._device.failed(f"copying {source.name} into the app", done)
            raise BackendError(
                f"the copy of {source.name} in the app differs: sha256 {found[:12] or 'none'}… there, "
                f"{wanted[:12]}… here",
                next_step="try another cable, and push again",
            )
        self._own("mv", f"files/{part}", f"files/{name}")
        return True

    def digest(self, name: str) -> str:
        """Return the sha256 of one of the app's files, by the device; "" where there is none."""
        done = self._device.run("run-as", PACKAGE, "sha256sum", f"files/{name}")
        self._refuse_closed(done.out + done.error)
        if done.status != 0 and self._device.gone():
            raise self._device.failed("sha256sum", done)
        return done.out.split(" ")[0].strip() if done.status == 0 else ""

    def read(self, name: str) -> str:
        """Return one of the app's files, ASCII text.

        Raises:
            BackendError: it is not there, or the device is gone.

        """
        return self._own("cat", f"files/{name}")

    def run(self, job: str, on_state: Callable[[Mapping[str, Any]], None]) -> Ran:
        """Run a job to its end; `on_state` hears about once a second how far it is.

        Raises:
            BackendError: the app is missing or no debug build, it died, or the device is gone.

        """

        def idle() -> None:
            state = self._state(job)
            if state is not None:
                on_state(state)

        done = self._device.run("am", "instrument", "-w", "-e", "job", job, INSTRUMENTATION, idle=idle)
        said = done.out + done.error
        if "INSTRUMENTATION_FAILED" in said or "Unable to find instrumentation" in said:
            raise BackendError(
                "the app on the device has no door for this", next_step=f"install its debug build: {PUSH}"
            )
        code = re.search(r"^INSTRUMENTATION_CODE: (-?[0-9]+)$", done.out, re.MULTILINE)
        result = dict(re.findall(r"^INSTRUMENTATION_RESULT: (\w+)=(.*)$", done.out, re.MULTILINE))
        if done.status != 0 or code is None or "shortMsg" in result:
            why = self._device.gone() or "the app died, as a rule because Android ended it for want of memory"
            raise BackendError(
                f"the run on the device ended early: {why}",
                next_step="close other apps, plug the device in, and run the same command again: it goes on where it "
                "stopped",
            )
        return Ran(int(code[1]) == WRITTEN, result)

    def _state(self, job: str) -> Mapping[str, Any] | None:
        """Return how far a run is; None where the app has not said it yet."""
        done = self._device.run("run-as", PACKAGE, "cat", f"files/jobs/{job}/state.json")
        try:
            value = json.loads(done.out) if done.status == 0 else None
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def _installed(self) -> str:
        done = self._device.run("pm", "path", PACKAGE)
        path = done.out.strip().removeprefix("package:")
        return self._device.digest(path) if done.status == 0 and path else ""

    def _own(self, *words: str) -> str:
        done = self._device.run("run-as", PACKAGE, *words)
        self._refuse_closed(done.out + done.error)
        if done.status != 0:
            raise self._device.failed(f"`{words[0]}` in the app's folder", done)
        return done.out

    def _refuse_closed(self, said: str) -> None:
        if "not debuggable" in said:
            raise BackendError(
                "the app on the device is a release build, whose files only a person can open",
                next_step=f"install its debug build: {PUSH}",
            )
        if "unknown package" in said:
            raise BackendError("the app is not on the device", next_step=PUSH)

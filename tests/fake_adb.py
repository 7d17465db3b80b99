"""A stand-in for `adb` with one device, a folder: what the gate runs on the device is really run, ARM64 by emulation.

Its app is a folder, too: `am instrument` runs the command `host` on it ({root}, {id} stand for the app's files and the
job), which is the app's own library on a host JVM.

The test writes `state.json` beside it: `devices` (serial → state), `properties`, `full` (no room), `after` (the device
is unplugged after so many lines of the probe), `flips` (a copied byte changes), `kill` (the probe is killed so); of the
app `release` (no debug build), `refuses` (Android installs nothing), `dies` (it is ended after so many lines).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE / "device"
STATE = json.loads((HERE / "state.json").read_text())
TMP = "/data/local/tmp"
APP = HERE / "app"
INSTALLED = HERE / "base.apk"
PACKAGE = "org.edgeproof.demo"


def fail(text: str, status: int = 1) -> int:
    sys.stderr.write(f"{text}\n")
    return status


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def here(path: str) -> Path:
    if path == "/data/app/base.apk":
        return INSTALLED
    assert path.startswith(TMP), path
    return ROOT / path.removeprefix(TMP).lstrip("/")


def update(**changes: object) -> None:
    (HERE / "state.json").write_text(json.dumps({**STATE, **changes}))


def push(source: str, target: str) -> int:
    if STATE.get("full") == "push":
        here(target).write_bytes(Path(source).read_bytes()[:1000])
        return fail(
            f"adb: error: failed to copy '{source}' to '{target}': remote couldn't write file: No space left on device"
        )
    data = Path(source).read_bytes()
    if STATE.get("flips"):
        data = data[:-1] + bytes([data[-1] ^ 1])
    here(target).write_bytes(data)
    (HERE / "pushed").open("a").write(f"{target}\n")
    return 0


def shell(words: list[str]) -> int:
    name, *rest = words
    if name == "getprop":
        say("\n".join(f"[{key}]: [{value}]" for key, value in STATE["properties"].items()))
    elif name == "mkdir":
        here(rest[-1]).mkdir(parents=True, exist_ok=True)
    elif name == "df":
        free = 10 if STATE.get("full") == "df" else 10**8
        say(f"Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/block/dm-5 99999999 1 {free} 1% /data")
    elif name == "pm":
        return say("package:/data/app/base.apk") or 0 if INSTALLED.is_file() else 1
    elif name == "run-as":
        return run_as(*rest)
    elif name == "am":
        return instrument(rest)
    elif name == "sha256sum":
        if not here(rest[0]).is_file():
            return fail(f"sha256sum: {rest[0]}: No such file or directory")
        return subprocess.run(["sha256sum", here(rest[0])], check=False).returncode
    elif name == "mv":
        here(rest[0]).rename(here(rest[1]))
    elif name == "rm":
        here(rest[-1]).unlink(missing_ok=True)
    elif name == "chmod":
        here(rest[1]).chmod(int(rest[0], 8))
    else:
        return probe(here(name))
    return 0


def install(package: str) -> int:
    if "refuses" in STATE:
        return fail("adb: failed to install: Failure [INSTALL_FAILED_UPDATE_INCOMPATIBLE: signatures do not match]")
    shutil.copy(package, INSTALLED)
    (APP / "files").mkdir(parents=True, exist_ok=True)
    say("Success")
    return 0


def run_as(package: str, *words: str) -> int:
    """Run a command in the app's folder, as its user: of the device's programs, those of this machine."""
    if package != PACKAGE or not INSTALLED.is_file():
        return fail(f"run-as: unknown package: {package}")
    if "release" in STATE:
        return fail(f"run-as: package not debuggable: {package}")
    if words[0] == "sh" and STATE.get("full") == "push":
        return fail("cat: write: No space left on device")
    status = subprocess.run(words, cwd=APP, check=False).returncode
    if words[0] == "sh":
        written = APP / words[2].partition("> ")[2]
        (HERE / "pushed").open("a").write(f"{written}\n")
        if STATE.get("flips"):
            data = written.read_bytes()
            written.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return status


def instrument(words: list[str]) -> int:
    assert words[:4] == ["instrument", "-w", "-e", "job"], words
    assert words[5:] == [f"{PACKAGE}/.JobInstrumentation"], words
    if not INSTALLED.is_file():
        return fail("INSTRUMENTATION_FAILED: unable to find instrumentation")
    command = [one.format(root=APP / "files", id=words[4]) for one in STATE["host"]]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    last = {}
    for count, line in enumerate(process.stdout):
        last = json.loads(line)
        if count == STATE.get("dies", STATE.get("after")):
            process.kill()
            process.wait()
            if "dies" not in STATE:
                update(devices={})
                return fail("", 255)
            say("INSTRUMENTATION_RESULT: shortMsg=Process crashed.\nINSTRUMENTATION_CODE: 0")
            return 0
    done = process.wait() == 0
    ((_, told),) = last.items()
    result = {"stage": "done" if done else "failed", **{key: told[key] for key in ("verdict", "error") if key in told}}
    say("".join(f"INSTRUMENTATION_RESULT: {key}={value}\n" for key, value in result.items()).rstrip())
    say(f"INSTRUMENTATION_CODE: {-1 if done else 0}")
    return 0


def probe(program: Path) -> int:
    """Run the pushed program; paths on the device are translated on the way in."""
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    process = subprocess.Popen([emulator, program], stdin=subprocess.PIPE)
    for count, line in enumerate(sys.stdin.buffer):
        if count == STATE.get("after"):
            process.kill()
            process.wait()
            if "kill" in STATE:
                return STATE["kill"]
            update(devices={})
            return fail("", 255)
        asked = json.loads(line)
        for key in ("model", "journal"):
            if key in asked.get("open", {}):
                asked["open"][key] = str(here(asked["open"][key]))
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
    process.stdin.close()
    return process.wait()


def main(words: list[str]) -> int:
    devices = STATE["devices"]
    if words == ["devices"]:
        say("List of devices attached\n" + "".join(f"{serial}\t{state}\n" for serial, state in devices.items()))
        return 0
    assert words[0] == "-s", words
    serial, verb, *rest = words[1:]
    state = devices.get(serial)
    if verb == "get-state":
        if state is None:
            return fail(f"error: device '{serial}' not found")
        say(state)
        return 0
    if state is None:
        return fail(f"error: device '{serial}' not found")
    if state != "device":
        return fail(f"error: device {state}")
    if verb == "push":
        return push(*rest)
    if verb == "install":
        assert rest[:2] == ["-r", "-t"], rest
        return install(rest[2])
    assert (verb, rest[0]) == ("shell", "-T"), rest
    return shell(shlex.split(rest[1]))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))

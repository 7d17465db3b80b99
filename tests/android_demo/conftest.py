"""Fixtures: the Java library, compiled for this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from edgeproof_tests.android_demo.tiny_job import TinyJob, tiny_job

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "android_demo" / "lib" / "src"
COMPILE = ("javac", "--release", "7", "-Xlint:all", "-Xlint:-options", "-Werror")


class Library:
    """Compiled classes: those of the AAR that need no Android, and the host's runner."""

    def __init__(self, classes: Path) -> None:
        self.classes = classes

    def command(self, main: str, *words: object) -> list[str]:
        """Return the command that runs a main class."""
        java = ["java", "-XX:TieredStopAtLevel=1", "-cp", str(self.classes)]
        return [*java, f"org.edgeproof.lib.{main}", *map(str, words)]

    def calls(self, calls: list[dict[str, Any]]) -> list[Any]:
        """Call single rules; return their values."""
        text = "".join(json.dumps(call) + "\n" for call in calls)
        run = subprocess.run(self.command("Calls"), input=text, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The library, compiled with every warning an error."""
    if not (shutil.which("javac") and shutil.which("java")):
        if os.environ.get("CI"):
            pytest.fail("there is no JDK: .ci/programs installs one")
        pytest.skip("there is no JDK: apt-get install default-jdk-headless")
    classes = tmp_path_factory.mktemp("library")
    sources = [path for path in LIBRARY.rglob("*.java") if path.parent.name != "android"]
    run = subprocess.run([*COMPILE, "-d", classes, *sources], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return Library(classes)


@pytest.fixture(scope="session")
def program() -> Path:
    """The probe program, built for this machine."""
    from edgeproof_tests.official.probe import build_probe

    return build_probe()


@pytest.fixture(scope="session")
def clean(program: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A job in which nothing leaks."""
    return tiny_job(tmp_path_factory.mktemp("clean"), program)


@pytest.fixture(scope="session")
def packages() -> dict[str, Path]:
    """What `make apk` wrote, here or where EDGEPROOF_APK says."""
    folder = Path(os.environ.get("EDGEPROOF_APK") or ROOT / ".cache" / "apk")
    found = {variant: folder / f"edgeproof-{variant}.apk" for variant in ("debug", "release")}
    if not all(path.is_file() for path in found.values()):
        why = f"{folder} has no edgeproof-debug.apk and edgeproof-release.apk: run `make apk`"
        (pytest.fail if os.environ.get("EDGEPROOF_APK") else pytest.skip)(why)
    return found

"""The Java library of android_demo/lib, compiled for this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "android_demo" / "lib" / "src"
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


def compiled_library(classes: Path) -> Library:
    """Compile the library into `classes`; without a JDK the test is skipped."""
    if not (shutil.which("javac") and shutil.which("java")):
        pytest.skip("there is no JDK: apt-get install openjdk-17-jdk-headless")
    sources = [path for path in SOURCES.rglob("*.java") if path.parent.name != "android"]
    run = subprocess.run([*COMPILE, "-d", classes, *sources], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return Library(classes)

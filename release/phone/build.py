"""Builds the programs for phones and the app, in a checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError, OutputError, UnsupportedError

if TYPE_CHECKING:
    from edgeproof.release.steps.arguments import StrPath

TARGETS = ("phone", "apk")
NEEDED = ("Makefile", "android_demo/build.py", "android_demo/apk.py")


def phone_build(checkout: StrPath = ".") -> Path:
    """Run `make phone apk` in a checkout; its output goes to this process's own.

    Args:
        checkout: the folder of edgeproof's sources.

    Returns:
        The folder with the APKs.

    Raises:
        InputError: `checkout` is none.
        UnsupportedError: there is no make.
        OutputError: the build failed.

    """
    folder = Path(checkout)
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} is no checkout of edgeproof: it has no {', '.join(missing)}",
            next_step="clone the sources, and give their folder: export-edge phone build FOLDER",
        )
    make = shutil.which("make")
    if make is None:
        raise UnsupportedError("there is no make on the path", next_step="Debian: apt-get install make")
    done = subprocess.run([make, "-C", str(folder), *TARGETS], check=False)
    if done.returncode != 0:
        raise OutputError(
            f"`make {' '.join(TARGETS)}` ended with {done.returncode}",
            next_step="its last lines say why; docs/phone.md names what must be installed",
        )
    return folder / ".cache" / "apk"

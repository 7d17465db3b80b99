"""Builds the library for other apps without Gradle: an AAR from javac, with the probe's programs.

    python android_demo/aar.py --programs FOLDER OUT

writes OUT/edgeproof-lib.aar: classes, manifest, and the programs that build.py wrote into FOLDER. The same sources and
JDK give the same bytes. docs/phone.md says how an app uses it.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from packing import archive, java, manifest, programs

NAME = "edgeproof-lib.aar"


def build(folder: Path, out: Path) -> Path:
    """Return the AAR."""
    entries = programs.entries(folder, "jni")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as name:
        work = Path(name)
        android = java.framework(work / "framework")
        entries["classes.jar"] = java.jar(sorted((java.LIBRARY / "java").rglob("*.java")), android, work)
        entries["AndroidManifest.xml"] = work / "AndroidManifest.xml"
        entries["AndroidManifest.xml"].write_bytes(
            manifest.merge(java.LIBRARY / "AndroidManifest.xml", [], package="org.edgeproof.lib", debuggable=False)
        )
        entries["R.txt"] = work / "R.txt"  # there are no resources; Gradle wants the file
        entries["R.txt"].touch()
        return Path(shutil.move(archive.pack(work / NAME, entries), out / NAME))


def main() -> None:
    """Build, and print the file's name, size and sha256."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--programs", type=Path, required=True)
    options = parser.parse_args()
    aar = build(options.programs.absolute(), options.out.absolute())
    digest = hashlib.sha256(aar.read_bytes()).hexdigest()
    sys.stdout.write(f"{aar}  {aar.stat().st_size:,} bytes  sha256 {digest}\n")


if __name__ == "__main__":
    main()

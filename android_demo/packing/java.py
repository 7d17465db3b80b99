"""Java classes, compiled against the signatures of Android's own in `stubs`."""

from __future__ import annotations

from pathlib import Path

from packing import archive, tools

HERE = Path(__file__).resolve().parents[1]
LIBRARY = HERE / "lib" / "src" / "main"


def framework(into: Path) -> Path:
    """Return a folder with Android's classes, without their bodies."""
    tools.call("javac", "--release", "7", "-Xlint:-options", "-proc:none", "-d", str(into),
               *map(str, sorted((HERE / "stubs").rglob("*.java"))))  # fmt: skip
    return into


def jar(files: list[Path], android: Path, into: Path) -> Path:
    """Return a jar of these classes, every warning an error."""
    classes = into / "classes"
    # What dx reads: class files of Java 7.
    tools.call("javac", "--release", "7", "-Xlint:all,-options", "-Werror", "-proc:none", "-encoding", "UTF-8",
               "-cp", str(android), "-d", str(classes), *map(str, files))  # fmt: skip
    return archive.pack(into / "classes.jar", {str(file.relative_to(classes)): file for file in archive.files(classes)})

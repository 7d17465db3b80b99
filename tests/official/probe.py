"""Builds the probe (android_demo/probe) for this machine against the libraries of the installed llama-cpp-python."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING

from .build import LIBRARIES, built, compiler, link_flags
from .source import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from .source import Source

SOURCES = ROOT / "android_demo" / "probe"


def build_probe() -> Path:
    """Return the program, built where it is not yet in the cache. Safe from several processes at once."""
    recipe = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))).hexdigest()
    _, folder = built("probe", recipe, _compile)
    return folder / "probe"


def _compile(source: Source, libraries: Path, folder: Path) -> None:
    scratch = folder.with_suffix(".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    tree = source.tree
    hashing = scratch / "sha256.o"
    headers = [f"-I{tree / name}" for name in ("include", "ggml/include", "vendor", "vendor/hash")]
    _run([compiler(), "-x", "c", "-O2", *headers, "-c", str(tree / "vendor/hash/sha256/sha256.c"), "-o", str(hashing)])
    _run(
        [
            compiler(), "-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", *headers,
            f'-DPROBE_ENGINE="llama.cpp {source.commit[:7]}"',
            str(SOURCES / "probe.cpp"), str(hashing), "-o", str(scratch / "probe"),
            *link_flags(libraries, [f"-l{name}" for name in LIBRARIES if name != "llama-common"]),
        ]
    )  # fmt: skip
    scratch.rename(folder)


def _run(command: list[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"the probe does not compile:\n{run.stderr[-4000:]}")

"""Finds the llama.cpp source tree that the installed llama-cpp-python was built from, and its commit.

It comes from $EDGEPROOF_OFFICIAL_SOURCE (an unpacked sdist of llama-cpp-python), or with pip from the package registry,
once, into the cache.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "llama-cpp-python"
TREE = Path("vendor") / "llama.cpp"
VOCABULARIES = ("llama-spm", "phi-3", "llama-bpe", "qwen2", "gpt-2")
"""Of llama.cpp's own tests: `models/ggml-vocab-NAME.gguf`, texts (.inp), and the ids that transformers gave (.out)."""
NEWEST = ("src/llama.cpp", "ggml/src/ggml.c", "ggml/src/ggml-cpu/ops.cpp")
"""Files that caches of earlier versions lack."""
HEAD = Path(".git") / "modules" / TREE / "HEAD"
CHANGELOG = Path("CHANGELOG.md")
NEEDED = tuple(
    str(TREE / name)
    for name in (
        "LICENSE",
        "common",
        "conversion",
        "convert_hf_to_gguf.py",
        "convert_lora_to_gguf.py",
        "ggml/include",
        "ggml/src/ggml-cpu",
        "gguf-py",
        "include",
        "models/templates",
        "src",
        "tools",
        "vendor",
        *(f"models/ggml-vocab-{name}.gguf{end}" for name in VOCABULARIES for end in ("", ".inp", ".out")),
    )
)


class Source(NamedTuple):
    """A llama.cpp source tree, its full commit, and the version of the llama-cpp-python that vendors it."""

    tree: Path
    commit: str
    version: str


def cache_folder() -> Path:
    """Return where downloads and builds are kept: $XDG_CACHE_HOME/edgeproof/official, or .cache/official here."""
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(home) / "edgeproof" / "official" if home else ROOT / ".cache" / "official"


def find_source(version: str | None = None) -> Source:
    """Return the source tree of llama-cpp-python (default: the installed one), downloaded where it is not whole yet."""
    version = version or importlib.metadata.version(PACKAGE)
    given = os.environ.get("EDGEPROOF_OFFICIAL_SOURCE")
    if given:
        folder = Path(given)
    else:
        folder = cache_folder() / f"{PACKAGE}-{version}"
        cache_folder().mkdir(parents=True, exist_ok=True)
        with (cache_folder() / "source.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not all((folder / TREE / name).exists() for name in NEWEST):
                shutil.rmtree(folder, ignore_errors=True)
                _download(version, folder)
    return Source(folder / TREE, read_commit(folder, version), version)


def read_commit(folder: Path, version: str) -> str:
    """Return the vendored llama.cpp's commit, from the sdist's git directory; its changelog must agree."""
    commit = (folder / HEAD).read_text().strip()
    section = re.search(
        rf"^## \[{re.escape(version)}\]$(.*?)(?=^## |\Z)", (folder / CHANGELOG).read_text(), re.MULTILINE | re.DOTALL
    )
    named = re.findall(r"llama\.cpp@([0-9a-f]{7,40})", section[1] if section else "")
    if not re.fullmatch(r"[0-9a-f]{40}", commit) or not any(commit.startswith(name) for name in named):
        raise RuntimeError(f"{folder}: HEAD is {commit!r}, the changelog of {version} names {named}")
    return commit


def _download(version: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE]
        subprocess.run([*command, "--dest", scratch, f"{PACKAGE}=={version}"], check=True)
        (archive,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            top = archive.name.removesuffix(".tar.gz")
            wanted = [member for member in tar if _is_needed(member.name.removeprefix(f"{top}/"))]
            tar.extractall(scratch, wanted, filter="data")
        shutil.move(Path(scratch) / top, folder)


def _is_needed(name: str) -> bool:
    if Path(name).parent == TREE / "ggml" / "src":  # its folders are back ends, of which the CPU's is enough
        return True
    return name in {str(HEAD), str(CHANGELOG)} or any(name == path or name.startswith(f"{path}/") for path in NEEDED)

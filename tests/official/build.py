"""Builds llama.cpp's own tools against the libraries of the installed llama-cpp-python.

`python tests/official/build.py` prints where they are.

Only the tools' own files are compiled (about 4 s each); llama, ggml and common are the very libraries under test.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if __package__:
    from .source import PACKAGE, Source, cache_folder, find_source
else:
    from source import PACKAGE, Source, cache_folder, find_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOOLS = {
    "llama-completion": ("completion/main.cpp", "completion/completion.cpp"),
    "llama-perplexity": ("perplexity/main.cpp", "perplexity/perplexity.cpp"),
    "llama-quantize": ("quantize/main.cpp", "quantize/quantize.cpp"),
    "llama-imatrix": ("imatrix/imatrix.cpp",),
    "llama-export-lora": ("export-lora/export-lora.cpp",),
}
LIBRARIES = ("llama-common", "llama", "ggml", "ggml-cpu", "ggml-base")


class Official(NamedTuple):
    """The tools, by name, and the source tree that they and the converter come from."""

    source: Source
    tools: dict[str, Path]

    @property
    def converter(self) -> Path:
        """convert_hf_to_gguf.py, in its tree."""
        return self.source.tree / "convert_hf_to_gguf.py"

    def run(self, tool: str, *arguments: object) -> str:
        """Run a tool and return what it printed on both channels; raises where it fails."""
        run = subprocess.run(
            [str(self.tools[tool]), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=False,
        )
        if run.returncode != 0:
            raise RuntimeError(f"{tool} ended with {run.returncode}:\n{run.stdout[-4000:]}")
        return run.stdout

    def perplexity(self, model: Path, text: Path, *, context: int, attempts: int = 40) -> float:
        """Return llama-perplexity's final estimate; it scores the second half of each window of `context` tokens.

        Weights are not repacked: with AMX that crashes.

        Under load the tool's log thread can lose its last lines when the process ends: then it is run again.
        """
        printed = ""
        for _ in range(attempts):
            printed = self.run("llama-perplexity", "-m", model, "-f", text, "-c", context, "-t", 2, "--no-repack")
            found = re.search(r"Final estimate: PPL = ([0-9.]+)", printed)
            if found:
                return float(found[1])
        raise RuntimeError(f"llama-perplexity gave no estimate in {attempts} runs:\n{printed[-4000:]}")


def built(name: str, recipe: str, compile_into: Callable[[Source, Path, Path], None]) -> tuple[Source, Path]:
    """Return the sources and the cached folder `name`-KEY, made by `compile_into` where it is missing.

    The key follows the sources, the libraries and `recipe`. Safe from several processes at once.
    """
    libraries = find_libraries()
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        source = find_source()
        key = hashlib.sha256(f"{source.commit} {libraries} {recipe}".encode()).hexdigest()[:12]
        folder = cache_folder() / f"{name}-{key}"
        if not folder.is_dir():
            compile_into(source, libraries, folder)
    return source, folder


def build() -> Official:
    """Return the tools, built where they are not yet in the cache. Safe from several processes at once."""
    source, folder = built("bin", f"{sorted(TOOLS.items())}", _compile_all)
    official = Official(source, {name: folder / name for name in TOOLS})
    version = official.run("llama-completion", "--version")
    # A wheel built without git does not know its commit.
    if f"commit {source.commit[:7]}" not in version and "commit unknown" not in version:
        raise RuntimeError(f"the libraries in {find_libraries()} are of another commit than {source.commit}: {version}")
    return official


def find_libraries() -> Path:
    """Return the folder of libllama-common, which llama-cpp-python's build installs beside its own package."""
    files = importlib.metadata.files(PACKAGE) or []
    for file in files:
        if file.name in {"libllama-common.so", "libllama-common.dylib"}:
            return Path(str(file.locate())).parent
    raise RuntimeError(f"{PACKAGE} came without libllama-common: install it from its sdist (--no-binary {PACKAGE})")


def _compile_all(source: Source, libraries: Path, folder: Path) -> None:
    scratch = folder.with_suffix(".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda tool: _compile(source, libraries, scratch / tool, TOOLS[tool]), TOOLS))
    scratch.rename(folder)


def _compile(source: Source, libraries: Path, target: Path, files: tuple[str, ...]) -> None:
    command = [
        compiler(),
        "-std=c++17",
        "-O1",
        *(f"-I{source.tree / folder}" for folder in ("common", "include", "ggml/include")),
        *(str(source.tree / "tools" / file) for file in files),
        "-o",
        str(target),
        *link_flags(libraries, [f"-l{name}" for name in LIBRARIES]),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{target.name} does not compile:\n{run.stderr[-4000:]}")


def compiler() -> str:
    """Name the C++ compiler: $CXX, or the first that is there."""
    return os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")))


def link_flags(libraries: Path, names: Sequence[str]) -> list[str]:
    """Link against `names` in `libraries`, and find them there when run."""
    # DT_RPATH also serves the libraries' own dependencies; their DT_RUNPATH is empty.
    old_tags = [] if sys.platform == "darwin" else ["-Wl,--disable-new-dtags"]
    return [f"-L{libraries}", *names, *old_tags, f"-Wl,-rpath,{libraries}", "-lpthread"]


if __name__ == "__main__":
    start = time.monotonic()
    found = build()
    sys.stdout.write(f"llama.cpp {found.source.commit} ({PACKAGE} {found.source.version})\n")
    sys.stdout.writelines(f"{path}\n" for path in found.tools.values())
    sys.stdout.write(f"{time.monotonic() - start:.1f} s\n")

"""Builds the probe for phones: one static ARM64 program for each kind of processor, with zig as the compiler.

    python android_demo/build.py [--only VARIANT] FOLDER

writes FOLDER/probe-v8.0, probe-dotprod and probe-i8mm, and licences.txt. The programs differ in ggml's CPU kernels
alone: all else is compiled once, for any ARM64. An object whose source, compiler and flags are the same is taken from
FOLDER/objects; an interrupted build goes on where it stopped. The same sources give the same bytes, in any folder.

The sources are those that the pinned llama-cpp-python vendors (tests/official/source.py).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from licences import licences
from source import find_source

ROOT = Path(__file__).resolve().parents[1]
PROBE = ROOT / "android_demo" / "probe" / "probe.cpp"
VARIANTS = {
    "v8.0": "generic",
    "dotprod": "generic+v8_2a+dotprod+fullfp16",
    "i8mm": "generic+v8_2a+dotprod+fullfp16+i8mm",
}
TARGET = ("-target", "aarch64-linux-musl")
SHARED = (
    *TARGET,
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-sanitize=undefined",
    "-DNDEBUG",
    "-D_GNU_SOURCE",
    "-D_XOPEN_SOURCE=600",
)
LINK = (*TARGET, "-mcpu=generic", "-static", "-s", "-Wl,--gc-sections", "-Wl,-z,max-page-size=16384")
GGML = ("-DGGML_SCHED_MAX_COPIES=4", "-DGGML_USE_CPU", "-DGGML_USE_CPU_REPACK", "-DGGML_USE_LLAMAFILE")
KERNELS = ("", "amx", "tiled", "llamafile", "arch/arm")
"""Folders of ggml-cpu that go into a build for ARM64, as ggml's CMakeLists.txt has them."""

OTHER = "cpu-feats.cpp"
"""For builds whose kernels are loaded at run time."""

UNITY = 16
"""Model graphs that are compiled as one file, as llama.cpp's own build does."""


class Unit(NamedTuple):
    """One object: its name, its source, and how it is compiled."""

    name: str
    source: Path
    flags: tuple[str, ...]


class Build:
    """A folder with objects, and the compiler."""

    def __init__(self, folder: Path, tree: Path, commit: str) -> None:
        self.folder, self.tree, self.commit = folder.absolute(), tree, commit
        (self.folder / "objects").mkdir(parents=True, exist_ok=True)
        cache = str(self.folder / "zig")
        self.environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
        self.zig = self._call("version").strip()

    def common(self) -> list[Unit]:
        """Everything but kernels and probe, compiled once."""
        base, llama, sources = self.tree / "ggml" / "src", self.tree / "src", self._generated()
        ggml = (*GGML, "-O2", "-mcpu=generic", f"-I{base}", f"-I{self.tree / 'ggml/include'}", f"-I{sources}")
        # Graphs are built by this code and not computed: -O1 halves the time that it takes to compile.
        flags = ("-O1", "-mcpu=generic", "-std=c++17", f"-I{llama}", f"-I{sources}", *self._includes())
        files = sorted(llama.glob("*.cpp"))
        models = sorted((llama / "models").glob("*.cpp"))
        units = [Unit(f"base-{file.name}", file, ggml) for file in sorted(base.glob("*.c*"))]
        for start in range(0, len(models), UNITY):
            text = "".join(f'#include "models/{model.name}"\n' for model in models[start : start + UNITY])
            unit = _write(sources / f"models-{start // UNITY:02}.cpp", text)
            units.append(Unit(unit.name, unit, (*flags, f"-I{llama / 'models'}")))
        units += [Unit(f"llama-{file.name}", file, flags) for file in files]
        hashing = self.tree / "vendor/hash/sha256/sha256.c"
        return [*units, Unit("sha256.c", hashing, ("-O2", "-mcpu=generic", f"-I{self.tree / 'vendor/hash'}"))]

    def kernels(self, variant: str) -> list[Unit]:
        """Return ggml's CPU kernels for one kind of processor."""
        base = self.tree / "ggml" / "src"
        flags = (*GGML, "-O3", f"-mcpu={VARIANTS[variant]}", f"-I{base}", f"-I{base / 'ggml-cpu'}",
                 f"-I{self.tree / 'ggml/include'}")  # fmt: skip
        folders = [base / "ggml-cpu" / name for name in KERNELS]
        files = [file for folder in folders for file in sorted(folder.glob("*.c*")) if file.name != OTHER]
        return [Unit(f"{variant}-{file.parent.name}-{file.name}", file, flags) for file in files]

    def probe(self, variant: str) -> Unit:
        """Return the program itself; it is for any ARM64, so that it can say that a processor lacks the variant."""
        defined = (f'-DPROBE_VARIANT="{variant}"', f'-DPROBE_ENGINE="llama.cpp {self.commit[:7]}"')
        strict = ("-Wall", "-Wextra", "-Werror")
        return Unit(
            f"probe-{variant}.cpp", PROBE, ("-O2", "-mcpu=generic", "-std=c++17", *strict, *defined, *self._includes())
        )

    def compile(self, unit: Unit) -> Path:
        """Return the unit's object, compiled where it is not there yet."""
        driver = "cc" if unit.source.suffix == ".c" else "c++"
        # The last map that fits counts: the folder may lie within the checkout.
        where = (f"-ffile-prefix-map={ROOT}=edgeproof", f"-ffile-prefix-map={self.tree}=llama.cpp",
                 f"-ffile-prefix-map={self.folder}=made")  # fmt: skip
        arguments = [driver, *SHARED, *where, *unit.flags, "-c", str(unit.source)]
        sources = sorted(PROBE.parent.iterdir()) if unit.source == PROBE else [unit.source]
        key = hashlib.sha256("\0".join([self.zig, self.commit, *arguments]).encode())
        for source in sources:
            key.update(source.read_bytes())
        target = self.folder / "objects" / f"{unit.name}-{key.hexdigest()[:16]}.o"
        if not target.is_file():
            part = target.with_suffix(".part.o")
            start = time.monotonic()
            self._call(*arguments, "-o", str(part))
            part.rename(target)
            sys.stderr.write(f"{unit.name}: {time.monotonic() - start:.0f} s\n")
        return target

    def link(self, variant: str, objects: list[Path]) -> Path:
        """Return the program. Code for any ARM64 comes first: of a template in several objects, the first counts."""
        target = self.folder / f"probe-{variant}"
        part = target.with_suffix(".part")
        self._call("c++", *LINK, *map(str, objects), "-o", str(part))
        part.rename(target)
        return target

    def _includes(self) -> tuple[str, ...]:
        return tuple(f"-I{self.tree / name}" for name in ("include", "ggml/include", "vendor", "vendor/hash"))

    def _generated(self) -> Path:
        folder = self.folder / "generated"
        folder.mkdir(exist_ok=True)
        for name in ("llama", "ggml"):
            template = self.tree / ("src" if name == "llama" else "ggml/src") / f"{name}-version.h.in"
            text = re.sub(r"@\w+_COMMIT@", self.commit[:7], template.read_text())
            _write(folder / f"{name}-version.h", re.sub(r"@\w+@", "vendored", text))
        return folder

    def _call(self, *arguments: str) -> str:
        run = subprocess.run([sys.executable, "-m", "ziglang", *arguments], env=self.environment, capture_output=True,
                             text=True, check=False)  # fmt: skip
        if run.returncode != 0:
            sys.exit(f"zig {arguments[0]} failed on {arguments[-3:]}:\n{run.stderr[-4000:]}")
        return run.stdout


def _write(path: Path, text: str) -> Path:
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
    return path


def main() -> None:
    """Build, and print each program's name, size and sha256."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=VARIANTS, action="append")
    options = parser.parse_args()
    pinned = re.search(r"^llama-cpp-python==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    source = find_source(pinned[1])
    start = time.monotonic()
    build = Build(options.folder, source.tree.resolve(), source.commit)
    variants = options.only or list(VARIANTS)
    common, each = build.common(), {name: [build.probe(name), *build.kernels(name)] for name in variants}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        shared = list(pool.map(build.compile, common))
        for name in variants:
            probe, *kernels = pool.map(build.compile, each[name])
            program = build.link(name, [probe, *shared, *kernels])
            digest = hashlib.sha256(program.read_bytes()).hexdigest()
            sys.stdout.write(f"{program}  {program.stat().st_size:,} bytes  sha256 {digest}\n")
    _write(build.folder / "licences.txt", licences(source.tree))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime
    sys.stdout.write(f"{time.monotonic() - start:.0f} s, {processor:.0f} s of processor time\n")


if __name__ == "__main__":
    main()

"""Builds llama.cpp's own llama-server against the libraries of the installed llama-cpp-python, and runs it.

It is apart from the other tools since it takes a minute: 13 files of its own, and the HTTP library that is vendored.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
import urllib.request
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .build import LIBRARIES, built, compiler, link_flags

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .source import Source

UI = """// No web interface: the tests speak to the completion interface alone.
#pragma once
#include <string>
#include <vector>
struct llama_ui_asset { std::string name; };
inline std::vector<llama_ui_asset> llama_ui_get_assets() { return {}; }
"""


def build_server() -> Path:
    """Return the program, built where it is not yet in the cache. Safe from several processes at once."""
    _, folder = built("server", UI, _compile)
    return folder / "llama-server"


def _compile(source: Source, libraries: Path, folder: Path) -> None:
    scratch = folder.with_suffix(".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    (scratch / "ui.h").write_text(UI)
    tree = source.tree
    files = [
        *sorted((tree / "tools" / "server").glob("*.cpp")),
        tree / "vendor" / "cpp-httplib" / "httplib.cpp",
        *sorted((tree / "vendor" / "hash").glob("*.cpp")),
    ]
    headers = ("", "tools/server", "tools/mtmd", "common", "include", "ggml/include", "vendor")
    flags = ["-std=c++17", "-O0", "-w", f"-I{scratch}", *(f"-I{tree / name}" for name in headers)]

    def one(file: Path) -> Path:
        target = scratch / f"{file.stem}.o"
        _run([compiler(), *flags, "-c", str(file), "-o", str(target)], file.name)
        return target

    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        objects = list(pool.map(one, files))
    program = scratch / "llama-server"
    names = [f"-l{name}" for name in ("mtmd", *LIBRARIES)]
    _run([compiler(), *map(str, objects), "-o", str(program), *link_flags(libraries, names)], program.name)
    for object_file in objects:
        object_file.unlink()
    scratch.rename(folder)


def _run(command: list[str], what: str) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{what} does not compile:\n{run.stderr[-4000:]}")


@contextlib.contextmanager
def running(program: Path, model: Path, *arguments: object) -> Iterator[str]:
    """Run llama-server on `model`, one slot and one thread, and give its URL; it ends with the block."""
    where = ("--host", "127.0.0.1", "--port", 0, "-np", 1, "-t", 1, "--no-repack", "--offline")
    with subprocess.Popen(
        [str(program), "-m", str(model), *map(str, where), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as server:
        assert server.stdout is not None
        try:
            said = []
            for line in server.stdout:  # waits for as long as loading takes
                said.append(line)
                if found := re.search(r"listening on (http://[0-9.:]+)", line):
                    break
            else:
                raise RuntimeError("llama-server ended:\n" + "".join(said[-40:]))
            url = found[1]
            with urllib.request.urlopen(f"{url}/health") as health:  # noqa: S310 (our own server)
                assert health.status == 200
            # What it goes on to say is read, or it would wait for room in the pipe.
            reader = threading.Thread(target=deque, args=(server.stdout, 0))
            reader.start()
            yield url
        finally:
            server.kill()
    reader.join()

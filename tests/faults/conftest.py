"""A tiny model, and exports of it that run in processes of their own and can be stopped at a step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from edgeproof_tests.export.conftest import make_adapter, torch  # noqa: F401 (fixtures)
from edgeproof_tests.models import save_model

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
STOPPABLE = Path(__file__).with_name("stoppable.py")


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return save_model("qwen3", tmp_path_factory.mktemp("faults") / "tiny", **SMALL)


class Stopped(NamedTuple):
    """A command under way in another process, which waits at each step named until it is told to go on."""

    process: subprocess.Popen[str]

    def reached(self) -> str | None:
        """The step that it waits at; None where it has ended."""
        line = self.process.stdout.readline()
        return line.strip() or None

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ended(self) -> tuple[int, str]:
        """Its exit code and stderr, once it has gone on through all further steps."""
        _, said = self.process.communicate()
        return self.process.returncode, said


def dies_at(call: str, number: int, when: str, act: Callable[[], object]) -> bool:
    """Do `act` in a process that ends "before" or "after" that call of `os`; False where it has ended by itself."""
    pid = os.fork()
    if pid == 0:
        real, calls = getattr(os, call), 0

        def dies(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == number and when == "before":
                os._exit(9)
            result = real(*arguments, **options)
            if calls == number:
                os._exit(9)
            return result

        setattr(os, call, dies)
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


@pytest.fixture
def start() -> Callable[..., Stopped]:
    """`start(steps, *arguments)`: `export-edge` with `arguments`, to stop before each call named in `steps`."""
    running: list[subprocess.Popen[str]] = []

    def begin(steps: list[str], *arguments: object) -> Stopped:
        command = [sys.executable, "-P", str(STOPPABLE), json.dumps(steps), *map(str, arguments)]
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return Stopped(running[-1])

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

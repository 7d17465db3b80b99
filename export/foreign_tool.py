"""Runs a Python program of others, in the interpreter that the user names for it.

The program cannot outlive this process, even by kill -9. `python -P -m edgeproof.export.foreign_tool FOLDER COMMAND …`
runs it in a process group of its own, and kills the group when stdin ends, a pipe that only this process holds open.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LAST_LINES = 12
MODULE = "edgeproof.export.foreign_tool"
NOT_STARTED = 126
"""Exit code, as a shell's, of a command that does not start."""


class Ended(NamedTuple):
    """A program that has ended: its interpreter, its exit code, and the last lines that it wrote."""

    interpreter: str
    code: int
    words: str


def run_tool(
    whose: str,
    variable: str,
    needs: str,
    arguments: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run `arguments` in the interpreter that the environment's `variable` names, or in the running one.

    Args:
        whose: the program, for messages ("the converter").
        variable: of the environment.
        needs: what the interpreter must have, for messages.
        arguments: of the interpreter.
        folder: where it runs.
        environment: variables that are set unless the caller's environment has them.

    Raises:
        InputError: the interpreter does not start.

    """
    interpreter = os.environ.get(variable) or sys.executable
    command = [sys.executable, "-P", "-m", MODULE, str(folder or ""), interpreter, *arguments]
    code, written, told = _run(command, {**(environment or {}), **os.environ})
    if code == NOT_STARTED and told.startswith(f"{interpreter}: "):
        raise InputError(
            f"{whose}'s interpreter {interpreter} does not start: {told.removeprefix(f'{interpreter}: ').strip()}",
            next_step=f"set {variable} to a Python that has {needs}",
        )
    lines = (told or written).strip().splitlines()[-LAST_LINES:]
    return Ended(interpreter, code, "\n".join(f"    {line}" for line in lines))


def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Run `command`, which ends with its stdin; return its exit code, stdout and stderr."""
    read, write = os.pipe()
    try:
        process = subprocess.Popen(
            command,
            stdin=read,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            process_group=0,  # Ctrl-C reaches this process, which ends the command
        )
    except BaseException:
        os.close(write)
        raise
    finally:
        os.close(read)
    with process:
        try:
            written, told = process.communicate()
        finally:
            os.close(write)
            process.wait()
    return process.returncode, written, told


def _supervise(folder: str, *command: str) -> int:
    """Run `command` in `folder` until it or stdin ends; return its exit code, 128 + n for signal n."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=folder or None, process_group=0)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return NOT_STARTED
    threading.Thread(target=_kill_at_end, args=(process.pid,), daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _kill_at_end(group: int) -> None:
    """Wait for the end of stdin, and kill the process group."""
    while os.read(0, 4096):
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(_supervise(*sys.argv[1:]))

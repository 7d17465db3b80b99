"""Runs a Python program of others, in the interpreter that the user names for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LAST_LINES = 12


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
    try:
        run = subprocess.run(
            [interpreter, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            check=False,
            cwd=folder,
            env={**(environment or {}), **os.environ},
        )
    except OSError as error:
        raise InputError(
            f"{whose}'s interpreter {interpreter} does not start: {error.strerror}",
            next_step=f"set {variable} to a Python that has {needs}",
        ) from error
    lines = (run.stderr or run.stdout).strip().splitlines()[-LAST_LINES:]
    return Ended(interpreter, run.returncode, "\n".join(f"    {line}" for line in lines))

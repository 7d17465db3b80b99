"""How a probe is started: the command, the model's path there, and what the report says of the place.

`export-edge gate` gets the folder that `make phone` writes: one program for each kind of ARM64 processor.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError
from edgeproof.runtime.probe.program import Program, no_reason
from edgeproof.runtime.values import list_at, table_at, text_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

VARIANTS = ("v8.0", "dotprod", "i8mm")
"""Builds for ARM64 processors, least first (android_demo/build.py)."""


class Launch(NamedTuple):
    """A probe that can be started.

    Attributes:
        command: what starts it.
        model: where it finds the artifact.
        journal: where it keeps answers, so that a killed run can go on; empty for nowhere.
        processor: the processor, in words.
        options: what else the report says of the place.
        reason: says why the probe ended, given its exit status.

    """

    command: Sequence[str]
    model: str
    journal: str
    processor: str
    options: Mapping[str, str]
    reason: Callable[[int], str] = no_reason


def program_in(folder: Path, variant: str) -> Path:
    """Return the program of a variant, in the folder that `make phone` wrote.

    Raises:
        InputError: it is not there, or no static ARM64 program.

    """
    path = folder / f"probe-{variant}"
    if not path.is_file():
        raise InputError(f"{folder} has no {path.name}", next_step="build the probe with `make phone`")
    with path.open("rb") as file:
        head = file.read(20)
    if head[:5] != b"\x7fELF\x02" or head[18:20] != b"\xb7\x00":
        raise InputError(f"{path} is no ARM64 program", next_step="build the probe again with `make phone`")
    return path


def sha256(path: Path, beat: Callable[[], None]) -> str:
    """Return the digest of a file, with a beat for each part."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 22):
            state.update(part)
            beat()
    return state.hexdigest()


def best_variant(command: Sequence[str], *, patience: float, beat: Callable[[], None]) -> str:
    """Ask a program, started by `command`, for the best variant that its processor runs."""
    program = Program(command, patience=patience, beat=beat)
    try:
        said = table_at(program.ask({"processor": True}).get("processor"), "the probe's processor")
    finally:
        program.close()
    named = [text_at(one, "a variant") for one in list_at(said.get("variants"), "the variants")]
    return max((one for one in named if one in VARIANTS), key=VARIANTS.index, default=VARIANTS[0])

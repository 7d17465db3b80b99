"""System calls that fail, one by one: the command tells it, old files stay whole, and nothing half written is named.

`shim.c`, loaded by LD_PRELOAD, fails the n-th call of a kind below the output folder, the temporary folder or the
inputs. What is written through memory maps, and what libc does within itself, is out of its reach.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import partial
from typing import TYPE_CHECKING

import commands as c
from forked import Ending, Limits, in_a_fork
from mutations import preload, secrets_of
from outcome import REFUSED, RIGHT, Outcome, Usual, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ground import Ground

KINDS = ("write", "fsync", "rename", "link", "open", "mkdir", "truncate", "read")
SHORT = 0
FAILURES = {
    "write": (errno.ENOSPC, errno.EIO, SHORT),
    "fsync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.EIO, errno.EROFS),
    "link": (errno.EIO, errno.EPERM),
    "open": (errno.EACCES, errno.EROFS, errno.EMFILE),
    "mkdir": (errno.ENOSPC, errno.EROFS),
    "truncate": (errno.ENOSPC,),
    "read": (errno.EIO, SHORT),
}
NOT_REACHED = "not reached"
MOST = {"read": 60}
"""Calls that are failed, where not all are: so many at even distances."""
ALL = 500
"""More than any command makes of the other kinds."""

Case = tuple[str, int, "Callable[[Path], tuple[Outcome, str]]"]


def shim() -> ctypes.CDLL | None:
    """The loaded shim; None where this process was started without it."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "fault_arm"):
        return None
    library.fault_count.restype = ctypes.c_long
    return library


def cases(ground: Ground, work: Path, wanted: Callable[[str, int], bool]) -> Iterator[Case]:
    """Each failure of each call of each command."""
    if shim() is None:
        print("errors: skipped, since there is no C compiler for shim.c")
        return
    preload()
    for command in (*c.COMMANDS, c.UNLEARN):
        places = ("inputs",) if command.name == "verify" else ("out", "tmp", "inputs")
        measured: dict[str, tuple[c.Valid, list[int]]] = {}
        for place in places:
            for kind, failures in FAILURES.items():
                if (place == "inputs") != (kind == "read"):
                    continue
                for failure in failures:
                    name = f"{command.name}: {kind} in {place} {errno.errorcode.get(failure, 'short')}"
                    most = MOST.get(kind, ALL)
                    numbers = [number for number in range(1, most + 1) if wanted(name, number)]
                    if numbers and command is c.UNLEARN:
                        c.preload_torch()
                    if numbers and place not in measured:
                        measured[place] = _measure(command, ground, work / "valid", place)
                    for number in numbers:
                        valid, counts = measured[place]
                        count = counts[KINDS.index(kind)]
                        at = number if count <= most else 1 + (number - 1) * count // most
                        if at <= count:
                            yield name, number, partial(_fail, command, ground, valid, place, kind, at, failure)


def _where(place: str, folder: Path, ground: Ground) -> str:
    return f"{ground.folder}/" if place == "inputs" else f"{folder / place}"


def _measure(command: c.Command, ground: Ground, work: Path, place: str) -> tuple[c.Valid, list[int]]:
    """Run the command without failures, and count its calls."""
    library = shim()
    assert library is not None
    folder = work / command.name.replace(" ", "-")
    arm = partial(library.fault_arm, os.fsencode(_where(place, folder, ground)), -1, 0, 0)
    valid = c.run_valid(command, ground, folder, arm)
    counts = [library.fault_count(kind) for kind in range(len(KINDS))]
    library.fault_disarm()
    return valid, counts


def _fail(  # noqa: PLR0917 (a partial)
    command: c.Command, ground: Ground, valid: c.Valid, place: str, kind: str, at: int, failure: int, folder: Path
) -> tuple[Outcome, str]:
    words = c.ready(command, ground, folder, valid.folder)
    before = c.contents(folder / "out")
    library = shim()
    assert library is not None
    library.fault_arm(os.fsencode(_where(place, folder, ground)), KINDS.index(kind), at, failure)
    ending = in_a_fork(partial(c.call, words), folder, Limits(processor=10 * valid.ending.seconds + 12))
    if place == "tmp":  # Python's tempfile goes elsewhere where it cannot write
        ending = ending._replace(strayed=())
    reached = library.fault_count(KINDS.index(kind)) >= at
    library.fault_disarm()
    what = f"call {at}"
    if not reached:  # where the order of calls depends on threads
        return Outcome(NOT_REACHED), what
    needs = Usual(valid.ending.seconds, valid.ending.grown)
    return _judged(command, ground, ending, needs, before, valid, folder), what


def _judged(  # noqa: PLR0917 (what a case is made of)
    command: c.Command,
    ground: Ground,
    ending: Ending,
    needs: Usual,
    before: dict[str, bytes],
    valid: c.Valid,
    folder: Path,
) -> Outcome:
    found = refusal(ending, needs, secrets_of(ground))
    after = c.contents(folder / "out")
    if found is None:
        if ending.code == 0 and c.alike(command, after, valid.whole):
            return Outcome(RIGHT, "it succeeds all the same")
        return Outcome("half written", f"exit code {ending.code}, {sorted(after)}, {_last(ending)}")
    if found.name == REFUSED and after != before:
        differs = sorted(name for name in after.keys() | before.keys() if after.get(name) != before.get(name))
        return Outcome("half written", f"{differs}; {found.detail}")
    hidden = c.names(folder / "out") - c.names_of(before) if found.name == REFUSED else set()
    if hidden:
        return Outcome("left something", f"{sorted(hidden)[:4]}; {found.detail}")
    left = [path.name for path in (folder / "tmp").iterdir()]
    if found.name == REFUSED and left:
        return Outcome("left something", f"in the temporary folder {left[:3]}; {found.detail}")
    return found


def _last(ending: Ending) -> str:
    return " | ".join(ending.said.strip().splitlines()[-3:])[-300:]

"""kill -9, SIGTERM, SIGHUP and SIGINT, once and twice, at random instants: no orphan, nothing half written, and the
same command run again succeeds and leaves nothing else.

Instants are spread over the processor time of the whole run. Runs that leave the same files are run again once.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import commands as c
from forked import Ending, Limits, in_a_fork
from instants import Instant, send
from mutations import preload, secrets_of
from outcome import REFUSED, RIGHT, Outcome, Usual, refusal
from states import state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ground import Ground

EACH = 200
"""Instants of each signal and command in the whole hunt."""
SENT = {
    "kill -9": (signal.SIGKILL,),
    "SIGTERM": (signal.SIGTERM,),
    "SIGHUP": (signal.SIGHUP,),
    "SIGINT": (signal.SIGINT,),
    "SIGTERM twice": (signal.SIGTERM, signal.SIGTERM),
    "SIGINT twice": (signal.SIGINT, signal.SIGINT),
}
ORPHANS_END = 20.0
"""Seconds within which children must end after their parent: they notice at once, and a busy machine is slow."""
PR_SET_CHILD_SUBREAPER = 36
TRIED = re.compile("[a-z0-9_]{8}")
"""Random names of Python's `tempfile`."""

Case = tuple[str, int, "Callable[[Path], tuple[Outcome, str]]"]


def cases(ground: Ground, work: Path, wanted: Callable[[str, int], bool]) -> Iterator[Case]:
    """EACH instants of each signal and command."""
    preload()
    # Orphans become this process's children, so that they are seen.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    for command in (*c.COMMANDS, c.UNLEARN):
        valid = None
        again: dict[str, Outcome] = {}
        for name, signals in SENT.items():
            kind = f"{command.name}: {name}"
            for number in (number for number in range(EACH) if wanted(kind, number)):
                if command is c.UNLEARN:
                    c.preload_torch()
                valid = valid or c.run_valid(command, ground, work / "valid" / command.name.replace(" ", "-"))
                yield kind, number, partial(_stop, command, ground, valid, signals, f"{kind} {number}", again)


def _tried(path: Path) -> bool:
    """Whether this is the file of up to 4 bytes by which Python tries whether a temporary folder can be written."""
    return TRIED.fullmatch(path.name) is not None and path.read_bytes() in {b"", b"blat"}


def _stop(  # noqa: PLR0917 (a partial)
    command: c.Command,
    ground: Ground,
    valid: c.Valid,
    signals: tuple[int, ...],
    seed: str,
    again: dict[str, Outcome],
    folder: Path,
) -> tuple[Outcome, str]:
    """Run the command, send the signals, judge; then run it again, unless it has been run from the same state."""
    chance = Random(seed)
    words = c.ready(command, ground, folder, valid.folder)
    before = c.contents(folder / "out")
    at = chance.random() * valid.ending.seconds
    pauses = [0.0, *(chance.choice((0.0, 0.01, 0.1)) for _ in signals[1:])]
    instants = [Instant(number, at, pause) for number, pause in zip(signals, pauses, strict=True)]
    ending = in_a_fork(partial(c.call, words), folder, Limits(processor=10 * valid.ending.seconds + 12),
                       meanwhile=partial(send, instants))  # fmt: skip
    what = f"after {at:.3f} of {valid.ending.seconds:.3f} s"
    if _orphans():
        return Outcome("orphan", _last(ending)), what
    found = _judged(command, ground, ending, valid, before, folder)
    if found is not None:
        return found, what
    left = state(folder)
    if left in again:
        return again[left]._replace(detail=f"{ending.code}, then as the others that left the same"), what
    again[left] = _again(command, ground, valid, folder, ending)
    return again[left], what


def _orphans() -> bool:
    """Whether children of the command live on; they are ended."""
    until = time.monotonic() + ORPHANS_END
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            if time.monotonic() > until:
                break
            time.sleep(0.02)
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text(encoding="ascii").split():
            os.kill(int(pid), signal.SIGKILL)
            os.waitpid(int(pid), 0)
    return True


def _judged(  # noqa: PLR0917 (what a case is made of)
    command: c.Command, ground: Ground, ending: Ending, valid: c.Valid, before: dict[str, bytes], folder: Path
) -> Outcome | None:
    """A defect of how it ended, and of what it left under final names."""
    if ending.code not in {130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT}:
        found = refusal(ending, Usual(valid.ending.seconds, valid.ending.grown), secrets_of(ground))
        if found is not None and found.name != REFUSED:
            return found
    if ending.hung:
        return Outcome("hang", _last(ending))
    if "internal error" in ending.said or "Traceback" in ending.said:
        return Outcome("internal error", _last(ending))
    after = c.contents(folder / "out")
    if command.name.startswith("export"):
        halves = [name for name, content in after.items() if not name.endswith(".edge.json")
                  and content not in {before.get(name), valid.whole.get(name)}]  # fmt: skip
        if halves:
            return Outcome("half written", f"{ending.code}: {halves[:4]}")
    if after != before and not c.alike(command, after, valid.whole) and ending.code != -signal.SIGKILL:
        differs = sorted(name for name in after.keys() | before.keys() if after.get(name) != before.get(name))
        return Outcome("half written", f"{ending.code}: {differs[:4]}; {_last(ending)}")
    return None


def _again(command: c.Command, ground: Ground, valid: c.Valid, folder: Path, ended: Ending) -> Outcome:
    """Run the command once more: it succeeds, or says that the first run had made all of it."""
    words = command.words(ground, folder)
    (folder / "said").rename(folder / "said-first")
    ending = in_a_fork(partial(c.call, words), folder, Limits(processor=10 * valid.ending.seconds + 12))
    after, names = c.contents(folder / "out"), c.names(folder / "out")
    there = ending.code == 3 and "exists" in ending.said
    if ending.code != 0 and not there:
        return Outcome("not recovered", f"{ending.code}: {_last(ending)}")
    if not c.alike(command, after, valid.whole):
        return Outcome("not recovered", f"{sorted(after)}; {_last(ending)}")
    extra = names - c.names(valid.folder / "out")
    left = [path.name for path in (folder / "tmp").iterdir() if not _tried(path)]
    if extra or left:
        return Outcome("left something", f"{sorted(extra)[:4]} {left[:4]}")
    return Outcome(RIGHT, f"{ended.code}, then {ending.code}")


def _last(ending: Ending) -> str:
    return " | ".join(ending.said.strip().splitlines()[-3:])[-300:]

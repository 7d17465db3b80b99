"""Signals at instants counted in processor time: on a busy machine the clock does not tell how far a command is."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import NamedTuple

SHORTEST, LONGEST = 0.0003, 0.05
"""Seconds between two looks."""


class Instant(NamedTuple):
    """A signal, once the command and its children took so much processor time, after a pause (both in seconds)."""

    signal: int
    processor: float
    pause: float = 0.0


def send(instants: list[Instant], pid: int) -> None:
    """Send the signals to the process from a thread, until it has ended."""

    def wait_and_send() -> None:
        spent: dict[int, float] = {}
        for instant in instants:
            while (left := instant.processor - total(pid, spent)) > 0 and _lives(watched):
                time.sleep(min(max(left / 2, SHORTEST), LONGEST))  # two processors at most work for it
            time.sleep(instant.pause)
            try:
                signal.pidfd_send_signal(watched, instant.signal)
            except ProcessLookupError:
                break
        os.close(watched)

    watched = os.pidfd_open(pid)
    threading.Thread(target=wait_and_send).start()


def _lives(descriptor: int) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except ProcessLookupError:
        return False
    return True


def total(pid: int, spent: dict[int, float]) -> float:
    """Seconds of processor time of a process and its children; `spent` keeps those of children that have ended."""
    try:
        for name in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 (names alone; it is asked often)
            spent[int(name)] = _nanoseconds(f"/proc/{pid}/task/{name}/schedstat") / 1e9
            for child in Path(f"/proc/{pid}/task/{name}/children").read_text(encoding="ascii").split():
                total(int(child), spent)
    except OSError:  # it has ended
        pass
    return sum(spent.values())


def _nanoseconds(path: str) -> int:
    return int(Path(path).read_text(encoding="ascii").split()[0])

"""Wall and processor time and peak memory of a command's process tree. Linux only."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERVAL_S = 0.05
PAGE = os.sysconf("SC_PAGE_SIZE")


class Cost(NamedTuple):
    """What one command took.

    Attributes:
        wall_s: from start to end.
        cpu_s: user and system time of it and its children.
        peak_rss_mb: the largest sum of resident memory over the process tree, in 10^6 bytes, sampled every 50 ms and at
            least the largest single process's own peak (VmHWM: ru_maxrss begins with the parent's); mapped files that
            are resident count.
        peak_anonymous_mb: the same sum without mapped files, which the kernel can drop at any time.

    """

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    peak_anonymous_mb: float


def measure(command: Sequence[str | Path], log: Path, codes: Sequence[int] = (0,)) -> Cost:
    """Run `command` with its output in `log`; raise with the log's end where it ends with none of `codes`."""
    before = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=subprocess.STDOUT)
    peaks = [0, 0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            resident, shared, own = _tree_memory(process.pid)
            peaks[0] = max(peaks[0], resident, own)
            peaks[1] = max(peaks[1], resident - shared)
            ended.wait(INTERVAL_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - before
    ended.set()
    watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        raise RuntimeError(
            f"{command[0]} … ended with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}"
        )
    return Cost(wall, usage.ru_utime + usage.ru_stime, peaks[0] / 1e6, peaks[1] / 1e6)


def _tree_memory(root: int) -> tuple[int, int, int]:
    """Bytes resident, and of them file-backed or shared, over `root` and all its descendants; the largest own peak."""
    resident = shared = own = 0
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        try:
            fields = Path(f"/proc/{pid}/statm").read_text().split()
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += [int(child) for child in children.read_text().split()]
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue  # it ended meanwhile
        resident += int(fields[1]) * PAGE
        shared += int(fields[2]) * PAGE
        peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), "0")
        own = max(own, int(peak) * 1024)
    return resident, shared, own

"""A bound on what a block may compute, in this machine's own time: slow machines are given more."""

from __future__ import annotations

import contextlib
import resource
import time
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMES = 200
"""Of the yardstick. A refusal takes a tenth of that at most; what is refused took minutes, hours, or all memory."""


@cache
def yardstick() -> float:
    """Processor time of a loop of ten million additions, in seconds."""
    began, total = time.process_time(), 0
    for number in range(10_000_000):
        total += number
    return time.process_time() - began


@contextlib.contextmanager
def bounded(*, kib: int) -> Iterator[None]:
    """Fail where the block takes TIMES the yardstick's processor time, or `kib` of memory more than ever before."""
    limit = TIMES * yardstick()
    began, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - began < limit
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < kib

"""Name of the processor, and number of physical cores available to this process."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_CPUINFO = Path("/proc/cpuinfo")


def physical_cores() -> int:
    """Return the number of physical cores available to this process, at least 1, within a container's CPU quota."""
    if not hasattr(os, "sched_getaffinity"):
        return max(1, os.cpu_count() or 1)
    allowed = os.sched_getaffinity(0)
    siblings = {_siblings(cpu) for cpu in allowed}
    return max(1, min(len(siblings), _quota() or len(siblings)))


def processor_name() -> str:
    """Return the processor's name from the system ("AMD EPYC 9654 96-Core Processor")."""
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in {"model name", "Hardware", "Processor"} and value.strip():
                return f"{value.strip()} ({platform.machine()})"
    return platform.processor() or platform.machine()


def _siblings(cpu: int) -> str:
    path = _CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list"
    return path.read_text().strip() if path.is_file() else str(cpu)


def _quota() -> int | None:
    """Return the container's CPU quota in whole CPUs, None without a quota."""
    if not _QUOTA.is_file():
        return None
    quota, _, period = _QUOTA.read_text().strip().partition(" ")
    return max(1, int(quota) // int(period)) if quota.isdigit() and period.isdigit() else None

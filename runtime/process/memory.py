"""Memory of the process that computes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from edgeproof.contracts.errors import BackendError

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def peak_memory(status: Path = Path("/proc/self/status")) -> int:
    """Return the largest resident set of this process so far, in bytes.

    From `status` on Linux, since getrusage there counts what the parent had before the child's program was loaded.

    Raises:
        BackendError: the system does not tell.

    """
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        found = _PEAK.search(status.read_text(encoding="ascii", errors="replace"))
    except OSError as error:
        raise BackendError(f"cannot read {status}: {error.strerror}") from error
    if found is None:
        raise BackendError(f"{status} does not say how much memory was taken")
    return 1024 * int(found[1])

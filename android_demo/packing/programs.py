"""The probe's programs as build.py writes them, and the names under which Android unpacks them."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003

from packing import tools

NAMES = {"v8.0": "libprobe_v8_0.so", "dotprod": "libprobe_dotprod.so", "i8mm": "libprobe_i8mm.so"}
"""By variant. Android unpacks lib*.so alone."""


def entries(folder: Path, prefix: str) -> dict[str, Path]:
    """Return the programs of `folder` by their names in an archive; end where one is missing."""
    missing = [name for name in NAMES if not (folder / f"probe-{name}").is_file()]
    if missing:
        tools.fail(f"{folder} has no probe-{missing[0]}: run `make phone`")
    return {f"{prefix}/arm64-v8a/{so}": folder / f"probe-{name}" for name, so in NAMES.items()}

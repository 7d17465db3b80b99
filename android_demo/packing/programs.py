"""The probe's programs as build.py writes them, with the licences of all that is linked into them, and their places."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003

from packing import tools

NAMES = {"v8.0": "libprobe_v8_0.so", "dotprod": "libprobe_dotprod.so", "i8mm": "libprobe_i8mm.so"}
"""By variant. Android unpacks lib*.so alone."""

LICENCES = "licences.txt"


def entries(folder: Path, prefix: str) -> dict[str, Path]:
    """Return the programs and licences of `folder` by their names in an archive; end where one is missing."""
    found = {f"{prefix}/arm64-v8a/{so}": folder / f"probe-{name}" for name, so in NAMES.items()}
    found[f"assets/edgeproof-{LICENCES}"] = folder / LICENCES
    missing = [path.name for path in found.values() if not path.is_file()]
    if missing:
        tools.fail(f"{folder} has no {missing[0]}: run `make phone`")
    return found

"""Optional packages: which of them are not installed."""

from __future__ import annotations

import importlib.util


def missing_packages(*names: str) -> list[str]:
    """Name those of `names` that cannot be imported; none of them is imported."""
    return [name for name in names if importlib.util.find_spec(name) is None]

"""Command-line options of benchmarks that export variants of one adapter in several formats."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse_options(
    description: str | None, formats: Sequence[str], varied: str, values: Sequence[float]
) -> argparse.Namespace:
    """Read the command line.

    Args:
        description: the benchmark's docstring, for --help.
        formats: the default of --formats.
        varied: what is varied: "sizes" gives the option --sizes, numbers.
        values: its default.

    Returns:
        base, adapter, work (not touched yet), formats, what `varied` names, threads (None: all), out (None: no JSON).

    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, emptied first")
    parser.add_argument("--formats", nargs="+", default=list(formats))
    parser.add_argument(f"--{varied}", nargs="+", type=float, default=list(values))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    return parser.parse_args()

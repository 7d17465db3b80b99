"""Prints the lowest version of each dependency that pyproject.toml allows, as constraints for pip.

python tests/lowest.py pyproject.toml > lowest.txt          the package, and the extras but [unlearn] and [lm-eval]
python tests/lowest.py pyproject.toml unlearn > torch.txt   this extra alone
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def lowest(requirements: list[str]) -> list[str]:
    """`name==version` for each `name>=version`; ends with what has another form."""
    pins = []
    for one in requirements:
        match = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)(?:,[<!].*)?", one)
        if match is None:
            sys.exit(f"{one!r} in pyproject.toml: its lowest version is not known; write it as name>=version")
        pins.append(f"{match[1]}=={match[2]}")
    return pins


def main(path: str, *extras: str) -> None:
    project = tomllib.loads(Path(path).read_text())["project"]
    optional = project["optional-dependencies"]
    wanted = extras or [name for name in optional if name not in {"unlearn", "lm-eval"}]
    found = [] if extras else list(project["dependencies"])
    for name in wanted:
        found += optional[name]
    sys.stdout.write("\n".join(lowest(found)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

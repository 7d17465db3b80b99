"""Prints the lowest version of each dependency that pyproject.toml allows, as constraints for pip.

python tests/lowest.py pyproject.toml > lowest.txt
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def lowest(requirements: list[str]) -> list[str]:
    """`name==version` for each `name>=version`."""
    found = [re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", one) for one in requirements]
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
    extras = (one for name, extra in project["optional-dependencies"].items() if name != "unlearn" for one in extra)
    sys.stdout.write("\n".join(lowest([*project["dependencies"], *extras])) + "\n")

"""Reader of the card that `export-edge unlearn` writes beside an adapter or a model (README.md)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.parsing import read_file
from edgeproof.contracts.training import LONGEST, MOST, Training

if TYPE_CHECKING:
    from pathlib import Path

CARD = "README.md"
LARGEST = 2**20
_TABLE = re.compile(r"^\| recipe \| \|\n\|---\|---\|\n((?:\|.*\|\n)+)", re.MULTILINE)
_ROW = re.compile(r"\| (.+?) \| (.*) \|")
_BASE = re.compile(r"^base_model: (\".*\")$", re.MULTILINE)
_LEFT_OUT = ("method", "seed", "versions", "asked as the pack")


def read_card(path: Path, source: str) -> Training | None:
    """Read the recipe in a card; None if it is not one that `unlearn` wrote.

    Raises:
        InputError: it cannot be read.

    """
    try:
        content = read_file(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", next_step="check its permissions") from error
    text = content.decode("utf-8", errors="replace") if len(content) <= LARGEST else ""
    table = _TABLE.search(text)
    rows = dict(_ROW.findall(table[1])) if table else {}
    method = rows.get("method", "")
    if not method or len(method) > LONGEST:
        return None
    seed = rows.get("seed", "")
    return Training(
        source=source,
        made_by="edgeproof",
        method=method,
        start=_base(text),
        forget="",
        retain="",
        seed=int(seed) if re.fullmatch(r"\d{1,18}", seed) else None,
        hyperparameters=tuple((key[:LONGEST], value[:LONGEST]) for key, value in rows.items() if key not in _LEFT_OUT)[
            :MOST
        ],
        file=CARD,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _base(text: str) -> str:
    found = _BASE.search(text)
    try:
        return str(json.loads(found[1]))[:LONGEST] if found else ""
    except ValueError:
        return ""

"""Reader of the card that `export-edge unlearn` writes beside an adapter or a model (README.md)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.parsing import read_file
from edgeproof.contracts.training import LONGEST, MOST, NOT_NAMED, Training
from edgeproof.export.training import known

if TYPE_CHECKING:
    from pathlib import Path

CARD = "README.md"
LARGEST = 2**20
_HEAD = ["| recipe | |", "|---|---|"]
_BASE = "base_model: "
_RECIPE = frozenset(
    {"β", "weight of the retain loss", "hinge", "ignorance level of the forget set", "stop at a forget NLL of"}
    | {"no answer with a summed log-probability of", "largest rise of the retain NLL", "weights", "scaled by", "layers"}
    | {
        "rank, alpha, dropout",
        "optimizer",
        "steps",
        "ended by",
        "parts of a batch, processes",
        "arithmetic",
        "surfaces",
    }
    | {"threads", "device, threads"}
)
"""What is kept of a recipe, where its value is plain (`known.is_plain`)."""
_METHOD = re.compile(r"(?:ga|npo|simnpo|wga)\+(?:gdr|klr)")


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
    lines = text.split("\n")
    rows = _recipe(lines)
    method = rows.get("method", "")
    if not _METHOD.fullmatch(method):
        return None
    seed = rows.get("seed", "")
    return Training(
        source=source,
        made_by="edgeproof",
        method=method,
        start=_base(lines),
        forget="",
        retain="",
        seed=int(seed) if re.fullmatch(r"[0-9]{1,18}", seed) else None,
        hyperparameters=tuple((key, value) for key, value in rows.items() if key in _RECIPE and known.is_plain(value)),
        file=CARD,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _recipe(lines: list[str]) -> dict[str, str]:
    """Return the rows of the table under `_HEAD`, line by line, each of a length that `unlearn` writes."""
    starts = (at for at, line in enumerate(lines) if line == _HEAD[0] and lines[at + 1 : at + 2] == _HEAD[1:])
    start = next(starts, len(lines)) + len(_HEAD)
    rows = {}
    for line in lines[start : start + MOST]:
        if not (line.startswith("| ") and line.endswith(" |") and len(line) <= 2 * LONGEST):
            break
        name, _, value = line[2:-2].partition(" | ")
        rows[name] = value
    return rows


def _base(lines: list[str]) -> str:
    """Return the base's name, if it is a public one."""
    said = next((line.removeprefix(_BASE) for line in lines if line.startswith(_BASE)), "")
    try:
        name = json.loads(said) if len(said) <= LONGEST else None
    except ValueError:
        name = None
    return known.model_name(name) if isinstance(name, str) else NOT_NAMED

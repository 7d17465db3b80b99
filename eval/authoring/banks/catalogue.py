"""Catalogue of the shipped banks of retain probes."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.templates import QUESTION_ANSWER

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "banks.toml"


class Bank(NamedTuple):
    """A file of plain facts.

    Attributes:
        name: name of the bank.
        file: file name in this package.
        language: its questions' language; empty for any (sums, symbols, code).
        licence: SPDX identifier.
        source: where the facts come from.
        left_out: indices of rows that are not used.

    """

    name: str
    file: str
    language: str
    licence: str
    source: str
    left_out: tuple[int, ...] = ()

    def lines(self) -> tuple[Mapping[str, object], ...]:
        """Return its probes as lines of a pack; ids are unique among all banks."""
        return _lines(self)


@cache
def banks() -> tuple[Bank, ...]:
    """Return all shipped banks, in the order of the catalogue."""
    table = tomllib.loads(_text(FILE))
    return tuple(Bank(**(entry | {"left_out": tuple(entry.get("left_out", ()))})) for entry in table["bank"])


@cache
def _lines(bank: Bank) -> tuple[Mapping[str, object], ...]:
    rows = [json.loads(line) for line in _text(bank.file).splitlines()]
    if bank.file.endswith(".jsonl"):
        return tuple(rows)
    return tuple(
        _tofu(row, f"{bank.name}-{number:03d}") for number, row in enumerate(rows) if number not in bank.left_out
    )


def _tofu(row: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return a row of TOFU's real authors or world facts, each a subject, as a line of a pack."""
    return {
        "id": name,
        "cluster": name,
        "question": row["question"],
        "answer": row["answer"],
        "template": QUESTION_ANSWER,
        "message": "{question}",
    }


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")

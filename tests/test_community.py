"""The table of results in community/: each row holds by itself, is signed, and stands in the table as it is."""

from __future__ import annotations

import json
from pathlib import Path

import edgeproof
import pytest
from edgeproof.contracts.errors import EvidenceError
from edgeproof.eval.attestation import signature_path
from edgeproof.eval.table.row import SCHEMA, encode, file_name

COMMUNITY = Path(__file__).resolve().parents[1] / "community"
ROWS = sorted(path for path in (COMMUNITY / "rows").glob("*.json") if not path.name.endswith(".dsse.json"))
KEYS = sorted((COMMUNITY / "keys").glob("*.pub"))


def test_there_are_ten_rows_of_several_methods_and_formats():
    rows = edgeproof.table(COMMUNITY / "rows", key=KEYS).rows
    assert len(rows) == len(ROWS)
    assert {row["schema"] for row in rows} == {SCHEMA}
    assert len(rows) >= 10
    assert len({row["method"] for row in rows}) >= 4
    assert len({row["format"] for row in rows}) >= 3


def test_the_page_has_the_table_of_the_rows():
    assert edgeproof.table(COMMUNITY / "rows", key=KEYS).markdown in (COMMUNITY / "README.md").read_text()


def test_nothing_but_rows_and_their_signatures_is_there():
    assert sorted((COMMUNITY / "rows").iterdir()) == sorted([*ROWS, *map(signature_path, ROWS)])
    assert [path.name for path in ROWS] == [file_name(json.loads(path.read_text())) for path in ROWS]


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.stem)
def test_a_doctored_row_is_refused(path, tmp_path):
    """By its arithmetic or, where it agrees with itself, by its signature: each value by itself."""
    doctored = tmp_path / path.name
    signature_path(doctored).write_bytes(signature_path(path).read_bytes())
    row = json.loads(path.read_text())
    doctored.write_bytes(encode(row))
    edgeproof.table(doctored, key=KEYS)
    for name, value in row.items():
        doctored.write_bytes(encode({**row, name: value / 2 + 0.01 if isinstance(value, int | float) else f"{value}x"}))
        with pytest.raises(EvidenceError):
            edgeproof.table(doctored, key=KEYS)

"""The corpus of coverage-guided fuzzing (benchmarks/faults/fuzz.py): each input is read or refused with a next step."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgeproof.contracts.errors import EdgeproofError
from edgeproof_tests.faults.test_hunt import load

CORPUS = Path(__file__).with_name("corpus")
PARSERS = load("parsers").PARSERS


def test_each_parser_has_a_corpus():
    assert {path.name for path in CORPUS.iterdir()} == set(PARSERS)


@pytest.mark.parametrize("name", PARSERS)
def test_each_input_is_read_or_refused(name, tmp_path):
    refusals: dict[str, str | None] = {}
    for path in sorted((CORPUS / name).iterdir()):
        refusals[path.name] = None
        try:
            PARSERS[name](tmp_path, path.read_bytes())
        except EdgeproofError as error:
            refusals[path.name] = error.next_step
    assert None in refusals.values(), "the corpus holds no valid input"
    assert any(refusals.values()), "the corpus holds no damaged input"
    assert "" not in refusals.values()

"""The corpus of coverage-guided fuzzing (benchmarks/faults/fuzz.py): each input is read, or refused with a next step."""

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
    read = refused = 0
    for path in sorted((CORPUS / name).iterdir()):
        try:
            PARSERS[name](tmp_path, path.read_bytes())
            read += 1
        except EdgeproofError as error:
            assert error.next_step, path.name
            refused += 1
    assert read, "the corpus holds no valid input"
    assert refused, "the corpus holds no damaged input"

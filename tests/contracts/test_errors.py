"""What must hold of errors: each says what to do next, through a pipe and without a next step of its own."""

from __future__ import annotations

import pickle

import pytest
from edgeproof.contracts import errors
from edgeproof.contracts.errors import EdgeproofError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EdgeproofError)]


def test_the_tree_is_whole():
    assert len(KINDS) > 12


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_without_a_next_step_gives_that_of_its_kind(kind):
    error = kind("model.gguf: 3 bytes")
    assert error.next_step == kind.usual_step
    assert str(error) == f"model.gguf: 3 bytes\n  → {kind.usual_step}"
    assert kind("model.gguf: 3 bytes", next_step="export it again").next_step == "export it again"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_a_pipe(kind):
    error = pickle.loads(pickle.dumps(kind("what", next_step="then")))  # noqa: S301 (our own)
    assert (type(error), error.message, error.next_step, error.exit_code) == (kind, "what", "then", kind.exit_code)


def test_what_a_message_quotes_of_a_file_is_escaped_and_cut():
    told = EdgeproofError("tensor \x1b[2J\u202e\x00 is odd\n::error::x\n  ##vso[task]y", next_step="export again")
    assert told.message == "tensor \\x1b[2J\\u202e\\x00 is odd\n\\::error::x\n  \\##vso[task]y"
    flood = EdgeproofError(f"tensor {'x' * 10**6} is odd: 3 bytes").message
    assert len(flood) < 4100
    assert flood.startswith("tensor xxx")
    assert flood.endswith("xxx is odd: 3 bytes")
    assert "996,023 more characters" in flood

"""A generation ends at a stop string, but not before it has begun: white space in front of an answer is no answer."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, Generation
from edgeproof.runtime.batching.continuing import Continuation

END = 0


def continued(pieces: list[bytes], stop: tuple[str, ...], max_tokens: int = 20, *, special: bool = False) -> Generation:
    """Say `pieces` one after the other, then the end, and return what is kept. Pieces in <…> are special tokens."""

    def piece(token: int, *, special: bool) -> bytes:
        return pieces[token - 1] if special or not pieces[token - 1].startswith(b"<") else b""

    going = Continuation(GenerateRequest((1,), max_tokens, stop, special=special), piece, lambda token: token == END)
    for token in [*range(1, len(pieces) + 1), END]:
        row = np.zeros(len(pieces) + 1, np.float32)
        row[token] = 1.0
        if going.take(row):
            break
    return going.generation


@pytest.mark.parametrize(
    ("pieces", "stop", "text", "finish"),
    [
        ([b"Paris", b"\n", b"Q:"], ("\n",), "Paris", "stop"),
        ([b"\n", b"Paris", b"\n", b"Q:"], ("\n",), "\nParis", "stop"),
        ([b"\n\n", b"Paris", b"\n\n", b"Q:"], ("\n\n", "\nQuestion"), "\n\nParis", "stop"),
        ([b" \t\r\n", b" \n", b"Paris\nLyon"], ("\n",), " \t\r\n \nParis", "stop"),
        ([b"\n", b"\n", b"\n"], ("\n",), "\n\n\n", "eos"),
        ([b"\n", b"Question: Who?"], ("\n\n", "\nQuestion", "Question:"), "\n", "stop"),
        ([b"\xe3\x80", b"\x80", b"\xe5\xb7", b"\xb4", b"\n"], ("\n",), "\u3000巴", "stop"),
        ([b"Paris", b" ", b"\n"], ("", "\n"), "Paris ", "stop"),
    ],
)
def test_stop_strings_count_after_the_first_character_that_is_no_white_space(
    pieces: list[bytes], stop: tuple[str, ...], text: str, finish: str
) -> None:
    said = continued(pieces, stop)
    assert (said.text, said.finish) == (text, finish)


def test_white_space_alone_ends_at_the_length() -> None:
    said = continued([b"\n"] * 9, ("\n",), max_tokens=4)
    assert (said.tokens, said.text, said.finish) == ((1, 2, 3, 4), "\n\n\n\n", "length")


def test_the_tokens_kept_are_those_before_the_stop_string() -> None:
    assert continued([b"\n", b"Par", b"is\nL", b"yon"], ("\n",)).tokens == (1, 2)


def test_special_tokens_are_written_out_where_they_are_asked_for() -> None:
    pieces = [b"Hm, Paris", b"</think>", b"Lyon"]
    assert continued(pieces, ()).text == "Hm, ParisLyon"
    assert continued(pieces, (), special=True).text == "Hm, Paris</think>Lyon"
    assert continued(pieces, (), special=True).tokens == (1, 2, 3)

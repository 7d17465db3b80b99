"""Reader for SentencePiece model files: the fields that GGUF needs, decoded from the protocol buffer.

Messages and field numbers: sentencepiece_model.proto of google/sentencepiece. The `sentencepiece` package runs such a
model, but does not expose its type (BPE or unigram) or its normalizer without a protobuf runtime.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import TokenizerError
from edgeproof.export.tokenizer.vocabulary.entries import TokenType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECES, TRAINER_SPEC, NORMALIZER_SPEC = 1, 2, 3
PIECE_TEXT, PIECE_SCORE, PIECE_TYPE = 1, 2, 3
TRAINER_MODEL_TYPE = 3
NORMALIZER_DUMMY_PREFIX = 3
MODEL_TYPES = {1: "unigram", 2: "BPE", 3: "word", 4: "char"}

PIECE_TYPES = {
    1: TokenType.NORMAL,
    2: TokenType.UNKNOWN,
    3: TokenType.CONTROL,
    4: TokenType.USER_DEFINED,
    5: TokenType.UNUSED,
    6: TokenType.BYTE,
}


class Piece(NamedTuple):
    """A piece of the model; its index in the list is its id."""

    text: str
    score: float
    type: TokenType


class SentencePieceModel(NamedTuple):
    """`kind` is "BPE", "unigram", "word" or "char"; `add_dummy_prefix` is the normalizer's flag."""

    kind: str
    pieces: tuple[Piece, ...]
    add_dummy_prefix: bool


def read_sentencepiece_model(path: Path) -> SentencePieceModel:
    """Read tokenizer.model.

    Raises:
        TokenizerError: the file is not a SentencePiece model (tiktoken files have the same name), or is truncated.

    """
    try:
        return _parse(path.read_bytes())
    except (OSError, ValueError, IndexError, KeyError, struct.error) as error:
        raise TokenizerError(
            f"{path} is not a SentencePiece model: {error}",
            next_step="download it again; if it is a tiktoken file, replace it by the checkpoint's tokenizer.json",
        ) from error


def _parse(content: bytes) -> SentencePieceModel:
    pieces: list[Piece] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for number, value in _fields(content):
        if number == PIECES and isinstance(value, bytes):
            pieces.append(_piece(dict(_fields(value))))
        elif number == TRAINER_SPEC and isinstance(value, bytes):
            trainer = dict(_fields(value))
        elif number == NORMALIZER_SPEC and isinstance(value, bytes):
            normalizer = dict(_fields(value))
    if not pieces:
        raise ValueError("it holds no pieces")
    return SentencePieceModel(
        kind=MODEL_TYPES[int(trainer.get(TRAINER_MODEL_TYPE, 1))],
        pieces=tuple(pieces),
        add_dummy_prefix=bool(normalizer.get(NORMALIZER_DUMMY_PREFIX, 1)),
    )


def _piece(fields: dict[int, int | bytes]) -> Piece:
    text, score = fields[PIECE_TEXT], fields.get(PIECE_SCORE, b"\0\0\0\0")
    if not isinstance(text, bytes) or not isinstance(score, bytes):
        raise ValueError("a piece's text or score has the wrong wire type")  # noqa: TRY004 (a damaged file)
    return Piece(text.decode(), struct.unpack("<f", score)[0], PIECE_TYPES[int(fields.get(PIECE_TYPE, 1))])


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message as (number, value): varints as int, all others as bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in {1, 5}:
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > len(message):
            raise ValueError(f"a field ends at byte {at + size} of {len(message)}")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number at byte {at} is longer than 64 bits")

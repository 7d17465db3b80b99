"""Vocabulary entries of a GGUF: text, type and, for SentencePiece, score."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

PLAIN_SPACE, SENTENCEPIECE_SPACE = " ", "\N{LOWER ONE EIGHTH BLOCK}"


class TokenType(IntEnum):
    """`tokenizer.ggml.token_type` (ggml's GGUF specification)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Token(NamedTuple):
    """One entry of the vocabulary. Byte-level BPE has no scores."""

    text: str
    type: TokenType
    score: float = 0.0


def padding(index: int, score: float = 0.0) -> Token:
    """Return the padding token for an id that has a row in the embedding but no token."""
    return Token(f"[PAD{index}]", TokenType.UNUSED, score)


def looks_special(text: str) -> bool:
    """Whether a token is a marker by its form, regardless of its file: llama.cpp keeps such tokens out of plain text.

    Known cases: <|…|> and DeepSeek's full-width bars; <unused…> and the masks of Gemma; <pad>.
    """
    if text in {"<pad>", "<mask>", "<2mass>", "[@BOS@]"}:
        return True
    forms = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))
    return any(text.startswith(start) and text.endswith(end) for start, end in forms)


def added_type(text: str, *, special: bool) -> TokenType:
    """Return the type of an added token."""
    return TokenType.CONTROL if special or looks_special(text) else TokenType.USER_DEFINED

"""Vocabulary of byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM, LFM2, Phi-4-mini, tekken)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import TokenizerError
from edgeproof.export.tokenizer.vocabulary.entries import (
    PLAIN_SPACE,
    SENTENCEPIECE_SPACE,
    Token,
    TokenType,
    added_type,
    padding,
)

if TYPE_CHECKING:
    from edgeproof.export.tokenizer.definition import AddedToken, Definition, Pipeline

SPACE_OFFSET = 256
"""In GPT-2's byte alphabet, a byte outside the printable ranges is written as the character 256 + its index among
these bytes; the space, the 33rd, is U+0120."""


def byte_level_vocabulary(definition: Definition, pipeline: Pipeline, vocab_size: int) -> list[Token]:
    """Return tokens 0 … vocab_size − 1, with padding for ids that the tokenizer does not use.

    Raises:
        TokenizerError: the embedding has no row for an id of the tokenizer.

    """
    pieces = {index: piece for piece, index in pipeline.vocab.items()}
    special = definition.special_texts
    added = dict(definition.added)
    for index, piece in pieces.items():
        if piece in special and index not in added:
            added[index] = _named_special(index, piece)
    highest = max((*pieces, *added))
    if highest >= vocab_size:
        raise TokenizerError(
            f"the tokenizer in {definition.folder} has the token id {highest}, the embedding only {vocab_size} rows",
            next_step="use the tokenizer that the checkpoint was saved with, or resize the embedding",
        )
    tokens = []
    for index in range(vocab_size):
        if index in added:
            tokens.append(_added(added[index], special))
        elif index in pieces:
            tokens.append(Token(pieces[index], TokenType.NORMAL))
        else:
            tokens.append(padding(index))
    return tokens


def merge_lines(pipeline: Pipeline) -> list[str]:
    """Return merges as "left right"; spaces inside a piece use the byte alphabet, to differ from the separator."""
    drawn_space = chr(ord(" ") + SPACE_OFFSET)
    return [f"{left.replace(' ', drawn_space)} {right.replace(' ', drawn_space)}" for left, right in pipeline.merges]


def _named_special(index: int, piece: str) -> AddedToken:
    from edgeproof.export.tokenizer.definition import AddedToken

    return AddedToken(index, piece, special=True, normalized=False)


def _added(token: AddedToken, special: frozenset[str]) -> Token:
    kind = added_type(token.content, special=token.special or token.content in special)
    text = token.content
    if kind is TokenType.USER_DEFINED:
        # llama.cpp searches the raw text for these, which holds no space of the byte alphabet.
        text = text.replace(SENTENCEPIECE_SPACE, PLAIN_SPACE)
    return Token(text, kind)

"""Reader for the vocabulary of a GGUF, in tokenizer.json's spelling."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from edgeproof.contracts.errors import TokenizerError
from edgeproof.export.tokenizer.vocabulary.entries import PLAIN_SPACE, SENTENCEPIECE_SPACE, TokenType

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
PREFIX = "tokenizer.ggml."
WAY_ROUND = "give the model's Hugging Face folder as --base"


class Vocabulary(NamedTuple):
    """Tokens of a GGUF: text (in tokenizer.json's spelling), type and score by id.

    Scores are empty for byte-level BPE, merges for SentencePiece.
    """

    texts: list[str]
    types: list[TokenType]
    scores: list[float]
    merges: list[str]


def read_vocabulary(path: Path, values: dict[str, object], rows: int) -> Vocabulary:
    """Return the vocabulary among the metadata `values` of `path`, whose embedding table has `rows`.

    Raises:
        TokenizerError: the lists are inconsistent, contradict the table, or name one text twice.

    """
    texts, merges = _items(path, values, "tokens", str), _items(path, values, "merges", str)
    types, scores = _items(path, values, "token_type", int), _items(path, values, "scores", float)
    if not texts or len(texts) != rows or len(types or texts) != rows or len(scores or texts) != rows:
        raise TokenizerError(
            f"{path}: {len(texts):,} tokens, {len(types):,} types and {len(scores):,} scores for the {rows:,} rows of "
            "the embedding table",
            next_step="convert the model again with its own tokenizer",
        )
    if unknown := set(types) - set(TokenType):
        raise TokenizerError(
            f"{path}: token_type {min(unknown)} is none of {', '.join(f'{kind:d}' for kind in TokenType)}",
            next_step="convert the model again with its own tokenizer",
        )
    known = [TokenType(value) for value in types] or [TokenType.NORMAL] * rows
    spelt = texts
    if values.get(f"{PREFIX}model") == "llama":
        spelt = [_piece(text, kind) for text, kind in zip(spelt, known, strict=True)]
    seen: dict[str, int] = {}
    for index, text in enumerate(spelt):
        if (first := seen.setdefault(text, index)) != index:
            raise TokenizerError(
                f"{path}: the tokens {first} and {index} have one text {text!r}, which tokenizer.json cannot express",
                next_step=WAY_ROUND,
            )
    return Vocabulary(spelt, known, scores, merges)


def _items(path: Path, values: dict[str, object], key: str, kind: type[T]) -> list[T]:
    """Return the list under `key`, each item of `kind`; empty if the key is missing."""
    found = values.get(f"{PREFIX}{key}", [])
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise TokenizerError(
            f"{path}: {PREFIX}{key} is not a list of {kind.__name__}",
            next_step="convert the model again with its own tokenizer",
        )
    return found


def _piece(text: str, kind: TokenType) -> str:
    """Return the piece in SentencePiece's spelling: llama.cpp's files have plain spaces in user-defined pieces."""
    return text.replace(PLAIN_SPACE, SENTENCEPIECE_SPACE) if kind is TokenType.USER_DEFINED else text

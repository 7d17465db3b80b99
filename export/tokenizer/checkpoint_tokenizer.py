"""Checkpoint's tokenizer, run by its own library: `tokenizers`, or `sentencepiece` alone."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from edgeproof.contracts.errors import TokenizerError
from edgeproof.export.tokenizer.vocabulary.entries import TokenType
from edgeproof.export.tokenizer.vocabulary.sentencepiece_model import read_sentencepiece_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeproof.export.tokenizer.definition import Definition
    from edgeproof.export.tokenizer.engine import TokenizeRequest


class Encode(Protocol):
    """Function that returns the token ids of a text."""

    def __call__(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """`add_special`: BOS and EOS as the post-processor adds them; `parse_special`: parse markers in the text."""


def encode_all(definition: Definition, requests: Sequence[TokenizeRequest]) -> list[list[int]]:
    """Return the token ids of each request's text.

    `tokenizers` (0.23) keeps a cache of every tokenizer that a thread has used until that thread ends: a process that
    exports again and again would grow. The thread here ends with the call.

    Raises:
        TokenizerError: its own library cannot load it.

    """

    def work() -> list[list[int]]:
        encode = load_encode(definition)
        return [encode(text, add_special=special, parse_special=parse) for text, special, parse in requests]

    with ThreadPoolExecutor(1) as worker:
        return worker.submit(work).result()


def load_encode(definition: Definition) -> Encode:
    """Load the checkpoint's tokenizer.

    Raises:
        TokenizerError: its own library cannot load it.

    """
    return _sentencepiece(definition) if definition.pipeline is None else _tokenizers(definition)


def _tokenizers(definition: Definition) -> Encode:
    from tokenizers import AddedToken, Tokenizer

    path = definition.folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_buffer(path.read_bytes())
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(
            f"{path} cannot be loaded: {error}", next_step="download the tokenizer's files again"
        ) from error
    assert definition.pipeline is not None
    in_file = {token.id for token in definition.pipeline.added}
    for token in sorted(definition.added.values()):
        if token.id in in_file:
            continue
        add = tokenizer.add_special_tokens if token.special else tokenizer.add_tokens
        add([AddedToken(token.content, normalized=token.normalized, lstrip=token.lstrip, rstrip=token.rstrip)])
        if tokenizer.token_to_id(token.content) != token.id:
            raise TokenizerError(
                f"{definition.folder}: {token.content!r} has the id {token.id} in the settings, but tokenizer.json "
                f"would give it {tokenizer.token_to_id(token.content)}",
                next_step="use tokenizer.json and tokenizer_config.json of the same checkpoint",
            )

    def encode(text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        tokenizer.encode_special_tokens = not parse_special
        ids: list[int] = tokenizer.encode(text, add_special_tokens=add_special).ids
        return ids

    tokenizer.no_truncation()
    tokenizer.no_padding()
    return encode


def _sentencepiece(definition: Definition) -> Encode:
    """Return an encoder by SentencePiece, which has no markers: it splits the text at them and encodes the parts."""
    from sentencepiece import SentencePieceProcessor

    assert definition.sentencepiece is not None
    pieces = read_sentencepiece_model(definition.sentencepiece).pieces
    try:
        processor = SentencePieceProcessor(model_file=str(definition.sentencepiece))
    except (OSError, RuntimeError) as error:
        raise TokenizerError(
            f"{definition.sentencepiece} cannot be loaded: {error}", next_step="download the tokenizer's files again"
        ) from error
    special = {piece.text: index for index, piece in enumerate(pieces) if piece.type is TokenType.CONTROL}
    always: dict[str, int] = {}
    for token in definition.added.values():
        (special if token.special else always)[token.content] = token.id
    settings = definition.settings or {}
    before = [processor.bos_id()] if settings.get("add_bos_token", True) else []
    after = [processor.eos_id()] if settings.get("add_eos_token", False) else []

    def encode(text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        markers = {**always, **special} if parse_special else always
        ids = [index for part in _cut(text, markers) for index in part_ids(part, markers)]
        return [*before, *ids, *after] if add_special else ids

    def part_ids(part: str, markers: dict[str, int]) -> list[int]:
        if part in markers:
            return [markers[part]]
        ids: list[int] = processor.encode(part)
        return ids

    return encode


def _cut(text: str, markers: dict[str, int]) -> Iterator[str]:
    if not markers:
        yield text
        return
    pattern = "|".join(re.escape(marker) for marker in sorted(markers, key=len, reverse=True))
    yield from (part for part in re.split(f"({pattern})", text) if part)

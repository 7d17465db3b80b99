"""Vocabulary of SentencePiece BPE (Llama 2, Mistral, Gemma, Phi-3): pieces, types and scores.

llama.cpp joins the neighbours whose union has the highest score, as SentencePiece does. A tokenizer.json holds ranked
merges instead of scores: a piece's score is then minus its rank among the merged pieces. (llama.cpp's converter gives
every piece of such a file the same score, which tokenizes wrongly.)
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import TokenizerError
from edgeproof.export.tokenizer.definition import WAYS_ROUND
from edgeproof.export.tokenizer.vocabulary.entries import (
    PLAIN_SPACE,
    SENTENCEPIECE_SPACE,
    Token,
    TokenType,
    added_type,
    padding,
)
from edgeproof.export.tokenizer.vocabulary.sentencepiece_model import read_sentencepiece_model

if TYPE_CHECKING:
    from edgeproof.export.tokenizer.definition import AddedToken, Definition, Json, Pipeline

PADDING_SCORE = -10000.0
ADDED_SCORE = -1000.0
SPACES_SCORE = -1e9
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")


def sentencepiece_vocabulary(definition: Definition, vocab_size: int, *, markers_by_form: bool) -> list[Token]:
    """Return tokens 0 … vocab_size − 1 with scores, and padding for ids that the tokenizer does not use.

    Args:
        definition: the folder's tokenizer; its tokenizer.model is used if there is one.
        vocab_size: number of rows of the embedding.
        markers_by_form: whether an added token that looks like a marker is one, regardless of its file.

    Raises:
        TokenizerError: the model is not BPE, or has more pieces than the embedding has rows.

    """
    pieces = _pieces(definition)
    if len(pieces) > vocab_size:
        raise TokenizerError(
            f"the tokenizer in {definition.folder} has {len(pieces)} pieces, the embedding only {vocab_size} rows",
            next_step="use the tokenizer that the checkpoint was saved with, or resize the embedding",
        )
    tokens = pieces + [padding(index, PADDING_SCORE) for index in range(len(pieces), vocab_size)]
    listed = (definition.settings or {}).get("added_tokens_decoder", {})
    for index, token in definition.added.items():
        # Smaller models of a family have no row for some added tokens (Gemma 3's image token).
        known = index < len(pieces) and pieces[index].text == token.content
        marker = known and pieces[index].type in {TokenType.CONTROL, TokenType.UNKNOWN}
        if index < vocab_size and (str(index) in listed or not marker):
            tokens[index] = _added(token, markers_by_form=markers_by_form)
    return tokens


def _added(token: AddedToken, *, markers_by_form: bool) -> Token:
    if markers_by_form:
        kind = added_type(token.content, special=token.special)
    else:
        kind = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
    text = token.content
    if kind is TokenType.USER_DEFINED:
        # llama.cpp matches these in the text before it replaces the spaces.
        text = text.replace(SENTENCEPIECE_SPACE, PLAIN_SPACE)
    return Token(text, kind, ADDED_SCORE)


def _pieces(definition: Definition) -> list[Token]:
    if definition.sentencepiece is not None:
        model = read_sentencepiece_model(definition.sentencepiece)
        if model.kind != "BPE":
            raise _not_bpe(f"{definition.sentencepiece} is a {model.kind} model")
        return [
            Token(
                piece.text.replace(SENTENCEPIECE_SPACE, PLAIN_SPACE)
                if piece.type is TokenType.USER_DEFINED
                else piece.text,
                piece.type,
                piece.score,
            )
            for piece in model.pieces
        ]
    pipeline = definition.pipeline
    assert pipeline is not None  # read_definition guarantees one of the two
    if pipeline.kind != "BPE":
        raise _not_bpe(f"{definition.folder / 'tokenizer.json'} is a {pipeline.kind} model")
    return _scored_by_merges(definition, pipeline)


def _not_bpe(what: str) -> TokenizerError:
    return TokenizerError(
        f"{what}: llama.cpp's tokenizer for these architectures joins pairs (BPE) and would split texts differently",
        next_step=WAYS_ROUND,
    )


def _scored_by_merges(definition: Definition, pipeline: Pipeline) -> list[Token]:
    by_id = {index: piece for piece, index in pipeline.vocab.items()}
    if sorted(by_id) != list(range(len(by_id))):
        missing = next(index for index in range(len(by_id)) if index not in by_id)
        raise TokenizerError(
            f"{definition.folder / 'tokenizer.json'} has {len(by_id)} pieces, but none with the id {missing}",
            next_step="download the tokenizer's files again",
        )
    scores = _scores(by_id, pipeline, {token.id for token in definition.added.values()})
    tokens = []
    for index in range(len(by_id)):
        piece = by_id[index]
        if BYTE_PIECE.fullmatch(piece):
            tokens.append(Token(piece, TokenType.BYTE))
        elif index not in scores:
            tokens.append(Token(piece, TokenType.UNKNOWN))  # <unk>, or a marker whose type the added tokens give
        else:
            tokens.append(Token(piece, TokenType.NORMAL, scores[index]))
    return tokens


def _scores(by_id: dict[int, str], pipeline: Pipeline, added: set[int]) -> dict[int, float]:
    """Return the scores of the ordinary pieces, by id.

    SentencePiece's trainer assigns ids by descending score, −1 per piece; Llama's and Mistral's runs of spaces come
    last. If the merges agree, these scores are the trainer's; otherwise they are the ranks of the merges.
    """
    order: dict[str, int] = {}
    for left, right in pipeline.merges:
        order.setdefault(left + right, len(order))
    pieces = {
        index: piece
        for index, piece in sorted(by_id.items())
        if index not in added and not BYTE_PIECE.fullmatch(piece) and piece != "<unk>"
    }
    ranks = [order[piece] for piece in pieces.values() if piece in order and piece.strip(SENTENCEPIECE_SPACE)]
    if all(first < second for first, second in pairwise(ranks)):
        start = min(pieces, default=0)
        return {
            index: float(start - index) if piece.strip(SENTENCEPIECE_SPACE) else SPACES_SCORE
            for index, piece in pieces.items()
        }
    return {index: -float(order.get(piece, len(order) + index)) for index, piece in pieces.items()}


def space_before(definition: Definition) -> str:
    """Return when a space is added before a text or after a marker: "always", "unless there" is one, or "never".

    Raises:
        TokenizerError: a space is added before a text but not after a marker, which llama.cpp does not support.

    """
    if definition.pipeline is None:
        assert definition.sentencepiece is not None  # read_definition guarantees one of the two
        return "always" if read_sentencepiece_model(definition.sentencepiece).add_dummy_prefix else "never"
    steps = [*_steps(definition.pipeline.normalizer), *_steps(definition.pipeline.pre_tokenizer)]
    if any(step.get("type") == "Prepend" for step in steps):
        return "always"
    for step in steps:
        if step.get("type") != "Metaspace":
            continue
        scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
        if scheme == "first":
            raise TokenizerError(
                f"{definition.folder / 'tokenizer.json'} puts a space before the start of a text, but not after a "
                "marker (Metaspace, prepend_scheme first); llama.cpp puts one in both places: chats would differ",
                next_step=WAYS_ROUND,
            )
        return "never" if scheme == "never" else "unless there"
    return "never"


def _steps(step: Json | None) -> list[Json]:
    if step is None:
        return []
    parts = step.get("normalizers") or step.get("pretokenizers")
    return [inner for part in parts for inner in _steps(part)] if parts else [step]

"""One digest for one tokenizer, whether a GGUF or a tokenizer.json holds it.

The two say the same in different words, so the digest is over what both have: the text of each id, the merges of
byte-level BPE, EOS, and the BOS that is put in front. Ids that are there for the embedding's sake only ("[PAD49153]" in
a GGUF, nothing in a tokenizer.json) are left out. Not in it: token types, scores, and the splitting of words before
BPE, which a GGUF names by a word ("smollm") and a tokenizer.json spells out.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, cast

from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.gguf_header import read_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

PREFIX = "tokenizer.ggml."
_UNUSED = 5
"""The type of a token that only fills the embedding up (LLAMA_TOKEN_TYPE_UNUSED)."""


def read_tokenizer(path: Path) -> Mapping[str, object]:
    """Return the values of all `tokenizer.ggml.*` keys of a GGUF by the rest of their names; no weight is read.

    Raises:
        ArtifactError: not a GGUF, cut short, or without a tokenizer.

    """
    entries = read_metadata(path, ArtifactError)
    values = {entry.key.removeprefix(PREFIX): entry.value for entry in entries if entry.key.startswith(PREFIX)}
    if not isinstance(values.get("tokens"), list):
        raise ArtifactError(f"{path} has no tokenizer ({PREFIX}* keys)", next_step="export it with its tokenizer")
    return values


def tokenizer_digest(values: Mapping[str, object], *, first: int | None) -> str:
    """Return the digest of a GGUF's tokenizer: equal for all formats of one model, an ONNX folder included.

    Args:
        values: from `read_tokenizer`.
        first: id of the BOS that the engine puts in front of a text, None where it adds none (a file may leave that to
            the engine).

    """
    types = dict(enumerate(cast("list[int]", values.get("token_type", []))))
    pieces = {
        index: _stored(piece)
        for index, piece in enumerate(cast("list[str]", values["tokens"]))
        if types.get(index) != _UNUSED or piece != f"[PAD{index}]"
    }
    merges = map(_stored, cast("list[str]", values.get("merges", [])))
    return vocabulary_digest(pieces, merges, first=first, eos=cast("int | None", values.get("eos_token_id")))


def _stored(text: str) -> bytes:
    """Return the bytes in the file, no valid UTF-8 included."""
    return text.encode("utf-8", "surrogateescape")


def vocabulary_digest(
    pieces: Mapping[int, bytes], merges: Iterable[bytes], *, first: int | None, eos: int | None
) -> str:
    """Return sha256 over a tokenizer.

    Args:
        pieces: the text of each id in UTF-8, as the vocabulary spells it ("Ġthe", "▁the", "<|im_end|>").
        merges: "left right", in order; none for tokenizers that are not byte-level BPE.
        first: id of the BOS that texts begin with, None where none is put in front.
        eos: id of EOS, where one is named.

    """
    digest = hashlib.sha256()
    space = "▁".encode()  # SentencePiece's mark; a GGUF of Gemma spells runs of spaces without it
    for index, spelt in sorted(pieces.items()):
        piece = spelt.replace(space, b" ")
        digest.update(struct.pack("<II", index, len(piece)) + piece)
    digest.update(b"\0merges\0")
    for merge in merges:
        digest.update(struct.pack("<I", len(merge)) + merge)
    digest.update(struct.pack("<ii", *(-1 if one is None else one for one in (first, eos))))
    return digest.hexdigest()


def described_merges(description: Mapping[str, object]) -> Iterator[bytes]:
    """Merges of a tokenizer.json; none for SentencePiece's vocabularies, whose merges follow from scores in a GGUF."""
    model = description.get("model")
    if not isinstance(model, dict) or model.get("byte_fallback"):
        return
    for merge in model.get("merges") or ():
        yield (merge if isinstance(merge, str) else " ".join(merge)).encode()

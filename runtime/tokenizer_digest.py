"""Digest of a tokenizer, equal for a GGUF and a tokenizer.json of the same model.

The formats differ, so the digest covers their common data: the text of each id, the merges of byte-level BPE, EOS, and
the BOS that is added. Ids that only fill the embedding ("[PAD49153]" in a GGUF, missing in a tokenizer.json) are left
out, as are token types, scores, and the pre-tokenizer, which a GGUF names ("smollm") and a tokenizer.json defines.
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
"""Type of tokens that only fill the embedding (LLAMA_TOKEN_TYPE_UNUSED)."""


def read_tokenizer(path: Path) -> Mapping[str, object]:
    """Return the values of all `tokenizer.ggml.*` keys of a GGUF, by name without prefix; no weight is read.

    Raises:
        ArtifactError: the file is not a GGUF, truncated, or without a tokenizer.

    """
    entries = read_metadata(path, ArtifactError)
    values = {entry.key.removeprefix(PREFIX): entry.value for entry in entries if entry.key.startswith(PREFIX)}
    if not isinstance(values.get("tokens"), list):
        raise ArtifactError(f"{path} has no tokenizer ({PREFIX}* keys)", next_step="export it with its tokenizer")
    return values


def tokenizer_digest(values: Mapping[str, object], *, first: int | None) -> str:
    """Return the digest of a GGUF's tokenizer, equal for all formats of one model, including ONNX folders.

    Args:
        values: from `read_tokenizer`.
        first: id of the BOS that the engine adds to a text, None if it adds none (a file may leave that to the engine).

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
    """Return the bytes in the file, including invalid UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def vocabulary_digest(
    pieces: Mapping[int, bytes], merges: Iterable[bytes], *, first: int | None, eos: int | None
) -> str:
    """Return sha256 over a tokenizer.

    Args:
        pieces: the text of each id in UTF-8, in the vocabulary's spelling ("Ġthe", "▁the", "<|im_end|>").
        merges: "left right", in order; none for tokenizers that are not byte-level BPE.
        first: id of the BOS that texts begin with, None if none is added.
        eos: id of EOS, if defined.

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
    """Yield the merges of a tokenizer.json; none for SentencePiece, whose merges follow from a GGUF's scores."""
    model = description.get("model")
    if not isinstance(model, dict) or model.get("byte_fallback"):
        return
    for merge in model.get("merges") or ():
        yield (merge if isinstance(merge, str) else " ".join(merge)).encode()

"""One digest for one tokenizer, whether a GGUF or a tokenizer.json holds it.

The two say the same in different words, so the digest is over what both have: the text of each id, the merges of
byte-level BPE, EOS, and the BOS that is put in front. Ids that are there for the embedding's sake only ("[PAD49153]" in
a GGUF, nothing in a tokenizer.json) are left out. Not in it: token types, scores, and the splitting of words before
BPE, which a GGUF names by a word ("smollm") and a tokenizer.json spells out.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


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

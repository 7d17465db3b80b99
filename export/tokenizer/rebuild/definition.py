"""tokenizer.json of a GGUF's vocabulary: model, pre-tokenizer, markers and post-processor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import TokenizerError, UnsupportedError
from edgeproof.export.tokenizer.pre_tokenizer import CHAINS, Bytes, Digits, Split
from edgeproof.export.tokenizer.rebuild.vocabulary import PREFIX, WAY_ROUND
from edgeproof.export.tokenizer.vocabulary.entries import PLAIN_SPACE, SENTENCEPIECE_SPACE, TokenType, padding

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.export.tokenizer.engine import EngineVocabulary
    from edgeproof.export.tokenizer.pre_tokenizer import Step
    from edgeproof.export.tokenizer.rebuild.vocabulary import Vocabulary

    Json = dict[str, object]

ALIASES = {
    "llama3": "llama-bpe", "llama-v3": "llama-bpe", "falcon3": "llama-bpe", "pixtral": "llama-bpe",
    "lfm2": "llama-bpe", "deepseek-r1-qwen": "qwen2", "llama4": "gpt-4o",
}  # fmt: skip
"""llama.cpp's alternative names of one pre-tokenizer (`llama_vocab::impl::load`)."""
SAME_PATTERN = {"dbrx": "llama-bpe"}
"""Names with the chain of another one, but a different `ignore_merges`."""
WHOLE_WORDS = frozenset({"llama-bpe", "tekken"})
"""Names for which a word in the vocabulary is one token without merging."""
COMPOSING = frozenset({"qwen2"})
"""Names whose checkpoints normalize text to NFC first, which a GGUF does not state: Qwen's."""
NAMED_STRIPPING = ("phi-3", "phi3")
"""Parts of `general.name` with which llama.cpp strips the spaces after markers …"""
NEVER_STRIPPING = frozenset({"<unk>", "<s>", "<|endoftext|>"})
"""… except these markers."""
MARKERS = frozenset({TokenType.CONTROL, TokenType.UNKNOWN})


def byte_level(path: Path, values: dict[str, object], vocabulary: Vocabulary) -> Json:
    """Return the definition of a byte-level BPE.

    Raises:
        UnsupportedError: its pre-tokenizer is unknown.

    """
    stated = str(values.get(f"{PREFIX}pre", "missing"))
    name = ALIASES.get(stated, stated)
    chains = {known: chain for chain, known in CHAINS.items()}
    chain = chains.get(SAME_PATTERN.get(name, name))
    if chain is None:
        raise UnsupportedError(
            f"{path}: the pre-tokenizer {stated!r} is unknown; known: "
            f"{', '.join(sorted({*chains, *ALIASES, *SAME_PATTERN}))}",
            next_step=WAY_ROUND,
        )
    return {
        **_frame(),
        "normalizer": {"type": "NFC"} if name in COMPOSING else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [_step(step) for step in chain]},
        "decoder": _byte_step(words=True),
        "model": _bpe(
            vocabulary,
            [merge.split(" ", 1) for merge in vocabulary.merges],
            ignore_merges=name in WHOLE_WORDS,
        ),
    }


def _step(step: Step) -> Json:
    match step:
        case Split(pattern):
            return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        case Digits():
            return {"type": "Digits", "individual_digits": True}
        case Bytes(words):
            return _byte_step(words=words)


def _byte_step(*, words: bool) -> Json:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": words}


def sentencepiece(values: dict[str, object], vocabulary: Vocabulary) -> Json:
    """Return the definition of a SentencePiece BPE, whose merges follow from the scores."""
    spaced = values.get(f"{PREFIX}add_space_prefix", True) is not False
    unknown = next((i for i, kind in enumerate(vocabulary.types) if kind is TokenType.UNKNOWN), None)
    drawn: Json = {"type": "Replace", "pattern": {"String": PLAIN_SPACE}, "content": SENTENCEPIECE_SPACE}
    shown: Json = {"type": "Replace", "pattern": {"String": SENTENCEPIECE_SPACE}, "content": PLAIN_SPACE}
    strip: Json = {"type": "Strip", "content": PLAIN_SPACE, "start": 1, "stop": 0}
    return {
        **_frame(),
        "normalizer": {
            "type": "Sequence",
            "normalizers": [*([{"type": "Prepend", "prepend": SENTENCEPIECE_SPACE}] if spaced else []), drawn],
        },
        "pre_tokenizer": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [shown, {"type": "ByteFallback"}, {"type": "Fuse"}, *([strip] if spaced else [])],
        },
        "model": _bpe(
            vocabulary,
            _merges(vocabulary),
            unk_token=None if unknown is None else vocabulary.texts[unknown],
            fuse_unk=True,
            byte_fallback=True,
        ),
    }


def _merges(pieces: Vocabulary) -> list[list[str]]:
    """Return all pairs of pieces that form a third, by its descending score, then by ascending ids.

    User-defined pieces (Gemma's runs of spaces) are matched in the text before any merge, the longest first: their
    merges come first, the longest piece's before the others', so that a run grows from the left.
    """
    ids = {
        text: index
        for index, (text, kind) in enumerate(zip(pieces.texts, pieces.types, strict=True))
        if kind in {TokenType.NORMAL, TokenType.USER_DEFINED}
    }
    ranked: list[tuple[float, int, int, int, int]] = []
    for text, index in ids.items():
        own = pieces.types[index] is TokenType.USER_DEFINED
        rank = (-math.inf, -len(text)) if own else (-pieces.scores[index], index)
        for cut in range(1, len(text)):
            left, right = ids.get(text[:cut]), ids.get(text[cut:])
            if left is not None and right is not None:
                ranked.append((*rank, -cut if own else left, left, right))
    return [[pieces.texts[left], pieces.texts[right]] for *_, left, right in sorted(ranked)]


def _frame() -> Json:
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": []}


def _bpe(vocabulary: Vocabulary, merges: list[list[str]], **more: object) -> Json:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        **more,
        "vocab": {
            text: index
            for index, (text, kind) in enumerate(zip(vocabulary.texts, vocabulary.types, strict=True))
            if kind is not TokenType.UNUSED or text != padding(index).text  # an id of the table only
        },
        "merges": merges,
    }


def added_tokens(values: dict[str, object], vocabulary: Vocabulary) -> list[Json]:
    """Return the markers, with the spaces that they strip."""
    name = str(values.get("general.name", "")).lower()
    strips = any(part in name for part in NAMED_STRIPPING)
    return [
        {
            "id": index,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": strips and text not in NEVER_STRIPPING,
            "normalized": False,
            "special": kind in MARKERS,
        }
        for index, (text, kind) in enumerate(zip(vocabulary.texts, vocabulary.types, strict=True))
        if kind in MARKERS or kind is TokenType.USER_DEFINED
    ]


def post_processor(path: Path, stored: EngineVocabulary, *, byte_level: bool) -> Json:
    """Return the post-processor that adds BOS and EOS as llama.cpp does."""
    before, after = (
        _end(path, role, token, adds=adds)
        for role, token, adds in (("BOS", stored.bos, stored.add_bos), ("EOS", stored.eos, stored.add_eos))
    )
    used = [token for token in (stored.bos if before else None, stored.eos if after else None) if token is not None]

    def around(sequence: str, type_id: int) -> list[Json]:
        parts = [("SpecialToken", before), ("Sequence", sequence), ("SpecialToken", after)]
        return [{kind: {"id": text, "type_id": type_id}} for kind, text in parts if text]

    template: Json = {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": [*around("A", 0), *around("B", 1)],
        "special_tokens": {text: {"id": text, "ids": [index], "tokens": [text]} for index, text in used},
    }
    if not byte_level:
        return template
    offsets: Json = {**_byte_step(words=True), "trim_offsets": False}
    return {"type": "Sequence", "processors": [offsets, template]} if used else offsets


def _end(path: Path, role: str, token: tuple[int, str] | None, *, adds: bool) -> str | None:
    if not adds:
        return None
    if token is None:
        raise TokenizerError(
            f"{path}: llama.cpp adds {role} to every text, but the file does not define that token",
            next_step="convert the model again",
        )
    return token[1]

"""Rebuilds a Hugging Face tokenizer from a GGUF's vocabulary, and proves it equal to llama.cpp's on that file.

llama.cpp names a byte-level BPE's steps (`tokenizer.ggml.pre`); `pre_tokenizer.CHAINS` lists them. A SentencePiece
vocabulary has scores instead of merges: every split of a piece into two becomes a merge, ranked by the piece's score.
llama.cpp's own decisions (whether it adds BOS, which ids end a generation) are read from llama.cpp, not guessed.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from edgeproof.contracts.errors import TokenizerError, UnsupportedError
from edgeproof.contracts.scratch import scratch_folder
from edgeproof.export.tokenizer.engine import start_engine
from edgeproof.export.tokenizer.pre_tokenizer import CHAINS, Bytes, Digits, Split
from edgeproof.export.tokenizer.proof import prove_tokenizer
from edgeproof.export.tokenizer.vocabulary import PLAIN_SPACE, SENTENCEPIECE_SPACE, TokenType, padding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.tensors import MetadataEntry
    from edgeproof.export.tokenizer.engine import EngineVocabulary
    from edgeproof.export.tokenizer.pre_tokenizer import Step
    from edgeproof.export.tokenizer.proof import Proof

    Json = dict[str, object]

T = TypeVar("T")
PREFIX = "tokenizer.ggml."
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
_WAY_ROUND = "give the model's Hugging Face folder as --base"


class Rebuilt(NamedTuple):
    """A tokenizer's files by name, and the proof that they give llama.cpp's ids."""

    files: dict[str, bytes]
    proof: Proof


class Vocabulary(NamedTuple):
    """Tokens of a GGUF: text (in tokenizer.json's spelling), type and score by id.

    Scores are empty for byte-level BPE, merges for SentencePiece.
    """

    texts: list[str]
    types: list[TokenType]
    scores: list[float]
    merges: list[str]


def rebuild_tokenizer(
    path: Path, metadata: Sequence[MetadataEntry], *, rows: int, texts: Sequence[str] = ()
) -> Rebuilt:
    """Rebuild the tokenizer of the GGUF `path`.

    Args:
        path: the file, whose vocabulary llama.cpp loads.
        metadata: its entries.
        rows: number of rows of the embedding table.
        texts: additional texts for the proof.

    Raises:
        UnsupportedError: the tokenizer is neither byte-level BPE with a known pre-tokenizer nor SentencePiece BPE.
        TokenizerError: the vocabulary is inconsistent or contradicts the table, or the proof fails.
        BackendError: llama.cpp cannot load the file.

    """
    values = {entry.key: entry.value for entry in metadata}
    vocabulary = _read_vocabulary(path, values, rows)
    with start_engine(path, []) as engine:
        stored = engine.reply().vocabulary
    kind = values.get(f"{PREFIX}model")
    if kind == "gpt2":
        definition = _byte_level(path, values, vocabulary)
    elif kind == "llama":
        definition = _sentencepiece(values, vocabulary)
    else:
        raise UnsupportedError(
            f"{path}: the tokenizer is of the kind {kind!r}; edgeproof rebuilds 'gpt2' (byte-level BPE) and "
            "'llama' (SentencePiece BPE)",
            next_step=_WAY_ROUND,
        )
    definition["added_tokens"] = _added_tokens(values, vocabulary)
    definition["post_processor"] = _post_processor(path, stored, byte_level=kind == "gpt2")
    files = {"tokenizer.json": _json(definition), **_companions(values, vocabulary, stored)}
    with scratch_folder(Path(tempfile.gettempdir()), "edgeproof-tokenizer-") as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return Rebuilt(files, prove_tokenizer(folder, path, texts))


def _read_vocabulary(path: Path, values: dict[str, object], rows: int) -> Vocabulary:
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
                next_step=_WAY_ROUND,
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


def _byte_level(path: Path, values: dict[str, object], vocabulary: Vocabulary) -> Json:
    stated = str(values.get(f"{PREFIX}pre", "missing"))
    name = ALIASES.get(stated, stated)
    chains = {known: chain for chain, known in CHAINS.items()}
    chain = chains.get(SAME_PATTERN.get(name, name))
    if chain is None:
        raise UnsupportedError(
            f"{path}: the pre-tokenizer {stated!r} is unknown; known: "
            f"{', '.join(sorted({*chains, *ALIASES, *SAME_PATTERN}))}",
            next_step=_WAY_ROUND,
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


def _sentencepiece(values: dict[str, object], vocabulary: Vocabulary) -> Json:
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


def _piece(text: str, kind: TokenType) -> str:
    """Return the piece in SentencePiece's spelling: llama.cpp's files have plain spaces in user-defined pieces."""
    return text.replace(PLAIN_SPACE, SENTENCEPIECE_SPACE) if kind is TokenType.USER_DEFINED else text


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


def _added_tokens(values: dict[str, object], vocabulary: Vocabulary) -> list[Json]:
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


def _post_processor(path: Path, stored: EngineVocabulary, *, byte_level: bool) -> Json:
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


def _companions(values: dict[str, object], vocabulary: Vocabulary, stored: EngineVocabulary) -> dict[str, bytes]:
    """Return tokenizer_config.json, generation_config.json and the chat templates."""
    roles: Json = {}
    for role, key in {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding", "sep": "seperator"}.items():
        index = values.get(f"{PREFIX}{key}_token_id")
        if isinstance(index, int) and 0 <= index < len(vocabulary.texts):
            roles[f"{role}_token"] = vocabulary.texts[index]
    context = next((value for key, value in values.items() if key.endswith(".context_length")), None)
    settings: Json = {
        **roles,
        "add_bos_token": stored.add_bos,
        "add_eos_token": stored.add_eos,
        "clean_up_tokenization_spaces": False,
        **({} if context is None else {"model_max_length": context}),
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    own = [stored.eos[0]] if stored.eos is not None else []
    # llama.cpp also treats a plain word that looks like an end as one (Qwen's "</s>"); no checkpoint does.
    ends = [index for index in stored.ends if vocabulary.types[index] in MARKERS]
    generation: Json = {
        "bos_token_id": values.get(f"{PREFIX}bos_token_id"),
        "eos_token_id": list(dict.fromkeys([*own, *ends])),
        "pad_token_id": values.get(f"{PREFIX}padding_token_id"),
    }
    files = {"tokenizer_config.json": _json(settings), "generation_config.json": _json(generation)}
    if stored.chat_template is not None:
        files["chat_template.jinja"] = stored.chat_template.encode()
    return files


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode()

"""Identification of the llama.cpp pre-tokenizer that equals the checkpoint's definition.

llama.cpp names pre-tokenizers; a tokenizer.json defines one by a chain of steps. The name is found by comparing the
chain, step by step, with those of the named ones. Nothing is guessed: an unlisted chain has no name, and
`prove_tokenizer` checks every name with the real engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import TokenizerError
from edgeproof.export.tokenizer.definition import WAYS_ROUND

if TYPE_CHECKING:
    from edgeproof.export.tokenizer.definition import Json, Pipeline


class Split(NamedTuple):
    """Splits the text into matches of `pattern` and the parts between them."""

    pattern: str


class Digits(NamedTuple):
    """Splits off every digit."""


class Bytes(NamedTuple):
    """Writes bytes in GPT-2's alphabet; `words` splits at GPT-2's pattern first."""

    words: bool


Step = Split | Digits | Bytes

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
CASED = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+",
    rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*",
)
SYMBOLS, SYMBOLS_AND_SLASHES = r" ?[^\s\p{L}\p{N}]+[\r\n]*", r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
SPACES = (r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+")


def _pattern(*alternatives: str) -> str:
    return "|".join(alternatives)


LLAMA3 = _pattern(CONTRACTIONS, LETTERS, r"\p{N}{1,3}", SYMBOLS, *SPACES)
QWEN2 = _pattern(CONTRACTIONS, LETTERS, r"\p{N}", SYMBOLS, *SPACES)
GPT4O = _pattern(*(f"{word}{CONTRACTIONS}?" for word in CASED), r"\p{N}{1,3}", SYMBOLS_AND_SLASHES, *SPACES)
TEKKEN = _pattern(*CASED, r"\p{N}", SYMBOLS_AND_SLASHES, *SPACES)

CHAINS: dict[tuple[Step, ...], str] = {
    (Bytes(words=True),): "gpt-2",
    (Digits(), Bytes(words=True)): "smollm",
    (Split(LLAMA3), Bytes(words=False)): "llama-bpe",
    (Split(QWEN2), Bytes(words=False)): "qwen2",
    (Split(GPT4O), Bytes(words=False)): "gpt-4o",
    (Split(TEKKEN), Bytes(words=False)): "tekken",
}
"""llama.cpp's names by chain of steps."""

OWN_NAMES = {("llama-bpe", "lfm2"): "lfm2", ("llama-bpe", "lfm2_moe"): "lfm2"}
"""Model types for which llama.cpp uses a second name of the same pre-tokenizer."""


class PreTokenizer(NamedTuple):
    """`name` is `tokenizer.ggml.pre`; `composes`: the definition normalizes text to NFC, which llama.cpp does not."""

    name: str
    composes: bool


def identify_pre_tokenizer(pipeline: Pipeline, model_type: str) -> PreTokenizer:
    """Name the pre-tokenizer of a byte-level BPE definition.

    Raises:
        TokenizerError: llama.cpp has no name for the chain; the message shows it.

    """
    try:
        chain = tuple(_steps(pipeline.pre_tokenizer))
        composes = _composes(pipeline.normalizer)
        name = CHAINS[chain]
    except (KeyError, ValueError) as error:
        raise TokenizerError(
            f"no known pre-tokenizer of llama.cpp splits text like this tokenizer.json: "
            f"pre_tokenizer {_shown(pipeline.pre_tokenizer)}, normalizer {_shown(pipeline.normalizer)}",
            next_step=WAYS_ROUND,
        ) from error
    if name == "llama-bpe" and not pipeline.ignore_merges and not model_type.startswith("lfm2"):
        # The same pattern, but words in the vocabulary are merged like any other.
        name = "dbrx"
    return PreTokenizer(OWN_NAMES.get((name, model_type), name), composes)


def _steps(definition: Json | None) -> list[Step]:
    if definition is None:
        return []
    kind = definition.get("type")
    if kind == "Sequence":
        return [step for part in definition["pretokenizers"] for step in _steps(part)]
    if kind == "ByteLevel" and not definition.get("add_prefix_space", True):
        return [Bytes(words=bool(definition.get("use_regex", True)))]
    if kind == "Digits" and definition.get("individual_digits", False):
        return [Digits()]
    if kind == "Split":
        # "Removed" and inverted keeps the matches only: equivalent for patterns that match every character.
        way = (definition.get("behavior"), bool(definition.get("invert", False)))
        if way in {("Isolated", False), ("Removed", True)}:
            return [Split(definition["pattern"]["Regex"])]
    raise ValueError(f"the step {_shown(definition)}")


def _composes(normalizer: Json | None) -> bool:
    if normalizer is None:
        return False
    kind, parts = normalizer.get("type"), normalizer.get("normalizers")
    if kind == "Sequence" and isinstance(parts, list):
        return any(list(map(_composes, parts)))
    if kind == "NFC":
        return True
    raise ValueError(f"the normalizer {_shown(normalizer)}")


def _shown(value: object) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else f"{text[:400]}…"

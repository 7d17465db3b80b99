"""GGUF keys `tokenizer.*` of a Hugging Face folder, equal to llama.cpp's converter, without transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import TokenizerError
from edgeproof.contracts.tensors import MetadataEntry
from edgeproof.export.tokenizer.chat_template import read_chat_templates
from edgeproof.export.tokenizer.definition import Definition, read_definition
from edgeproof.export.tokenizer.pre_tokenizer import identify_pre_tokenizer
from edgeproof.export.tokenizer.special_tokens import special_tokens
from edgeproof.export.tokenizer.vocabulary.byte_level import byte_level_vocabulary, merge_lines
from edgeproof.export.tokenizer.vocabulary.sentencepiece import sentencepiece_vocabulary, space_before

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LLAMA_FAMILY = frozenset({"llama", "mistral", "smollm3"})
"""Model types for which the converter reads `add_prefix_space` and special vocabulary sizes."""
GEMMA_FAMILY = frozenset({"gemma2", "gemma3", "gemma3_text"})
PHI_FAMILY = frozenset({"phi3"})
CODE_LLAMA_VOCABULARY, CODE_LLAMA_EOT = 32016, 32010
STARCODER_VOCABULARY = 49152
"""Vocabulary size of SmolLM and Granite, whose texts start without BOS, whatever the settings say."""


def tokenizer_metadata(folder: Path, config: Mapping[str, object]) -> tuple[MetadataEntry, ...]:
    """Describe the tokenizer in `folder` for a GGUF file.

    Args:
        folder: a Hugging Face folder with tokenizer.json and/or tokenizer.model, and their companions.
        config: the folder's config.json: `model_type`, `vocab_size` (rows of the embedding), special ids.

    Returns:
        The keys in the converter's order.

    Raises:
        TokenizerError: the tokenizer is missing, broken, contradictory, larger than the embedding, or has no equivalent
            in llama.cpp (the message names the alternatives).

    """
    definition = read_definition(folder)
    model_type, vocab_size = _model_type(config), _vocab_size(config, definition)
    if definition.byte_level:
        entries = _byte_level(definition, config, model_type, vocab_size)
    else:
        entries = _sentencepiece(definition, config, model_type, vocab_size)
    # A repeated key keeps its first position and its last value.
    return tuple({entry.key: entry for entry in entries}.values())


def _byte_level(
    definition: Definition, config: Mapping[str, object], model_type: str, vocab_size: int
) -> list[MetadataEntry]:
    pipeline = definition.pipeline
    assert pipeline is not None  # implied by byte_level
    pre = identify_pre_tokenizer(pipeline, model_type)
    if not pipeline.merges:
        raise TokenizerError(
            f"{definition.folder / 'tokenizer.json'} has no merges, without which llama.cpp cannot load byte-level BPE",
            next_step="take tokenizer.json from the base checkpoint",
        )
    tokens = byte_level_vocabulary(definition, pipeline, vocab_size)
    return [
        *_space_prefix_setting(definition, model_type),
        _string("model", "gpt2"),
        _string("pre", pre.name),
        _array("tokens", [token.text for token in tokens], "STRING"),
        _array("token_type", [int(token.type) for token in tokens], "INT32"),
        _array("merges", merge_lines(pipeline), "STRING"),
        *_special(definition, config, vocab_size),
        *_family_extras(definition, model_type, vocab_size),
    ]


def _sentencepiece(
    definition: Definition, config: Mapping[str, object], model_type: str, vocab_size: int
) -> list[MetadataEntry]:
    tokens = sentencepiece_vocabulary(definition, vocab_size, markers_by_form=model_type not in PHI_FAMILY)
    entries = [
        *_space_prefix_setting(definition, model_type),
        _string("model", "llama"),
        _string("pre", "default"),
        _array("tokens", [token.text for token in tokens], "STRING"),
        _array("scores", [token.score for token in tokens], "FLOAT32"),
        _array("token_type", [int(token.type) for token in tokens], "INT32"),
        *_special(definition, config, vocab_size),
        *_family_extras(definition, model_type, vocab_size),
    ]
    said = any(entry.key == "tokenizer.ggml.add_space_prefix" for entry in entries)
    if not said and space_before(definition) == "never":
        entries.append(_flag("add_space_prefix", value=False))
    return entries


def _special(definition: Definition, config: Mapping[str, object], vocab_size: int) -> Iterable[MetadataEntry]:
    special = special_tokens(definition, config, vocab_size)
    for role, index in special.ids.items():
        # The specification's names of UNK and PAD are longer than the roles'.
        name = {"unk": "unknown", "pad": "padding", "sep": "seperator"}.get(role, role)
        yield MetadataEntry(f"tokenizer.ggml.{name}_token_id", index, "UINT32")
    for role, flag in special.add.items():
        yield _flag(f"add_{role}_token", value=flag)
    templates = read_chat_templates(definition)
    named = {
        "".join(c if c.isascii() and c.isalnum() else "_" for c in name): template
        for name, template in templates.named.items()
    }
    for name, template in named.items():
        yield MetadataEntry(f"tokenizer.chat_template.{name}", template, "STRING")
    if named:
        yield MetadataEntry("tokenizer.chat_templates", sorted(named), "ARRAY", "STRING")
    if templates.default is not None:
        yield MetadataEntry("tokenizer.chat_template", templates.default, "STRING")


def _space_prefix_setting(definition: Definition, model_type: str) -> list[MetadataEntry]:
    value = (definition.settings or {}).get("add_prefix_space")
    if model_type in LLAMA_FAMILY and isinstance(value, bool):
        return [_flag("add_space_prefix", value=value)]
    return []


def _family_extras(definition: Definition, model_type: str, vocab_size: int) -> Iterable[MetadataEntry]:
    if model_type in LLAMA_FAMILY and vocab_size == CODE_LLAMA_VOCABULARY:
        yield MetadataEntry("tokenizer.ggml.eot_token_id", CODE_LLAMA_EOT, "UINT32")
    if model_type in LLAMA_FAMILY and vocab_size == STARCODER_VOCABULARY:
        yield _flag("add_bos_token", value=False)
    if model_type in GEMMA_FAMILY and not definition.byte_level:
        yield _flag("add_space_prefix", value=False)


def _model_type(config: Mapping[str, object]) -> str:
    return str(config.get("model_type", ""))


def _vocab_size(config: Mapping[str, object], definition: Definition) -> int:
    value = config.get("vocab_size")
    nested = config.get("text_config")
    if isinstance(nested, dict):
        value = nested.get("vocab_size", value)
    if not isinstance(value, int) or value <= 0:
        raise TokenizerError(
            f"config.json of {definition.folder} gives vocab_size as {value!r}: the rows of the embedding are unknown",
            next_step="take config.json from the base checkpoint",
        )
    return value


def _string(name: str, value: str) -> MetadataEntry:
    return MetadataEntry(f"tokenizer.ggml.{name}", value, "STRING")


def _array(name: str, value: object, item_kind: str) -> MetadataEntry:
    return MetadataEntry(f"tokenizer.ggml.{name}", value, "ARRAY", item_kind)


def _flag(name: str, *, value: bool) -> MetadataEntry:
    return MetadataEntry(f"tokenizer.ggml.{name}", value, "BOOL")

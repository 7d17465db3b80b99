"""Digest of everything that affects a model's prompts and the reading of its answers, except weights.

A different chat template, an additional end token, a changed pre-tokenizer or pieces marked as control tokens can
silence a file that still knows everything. The vocabulary's digest (`tokenizer_digest`) is equal for all formats of a
model; this digest covers format-specific data, so it compares artifacts of one backend only:

- a GGUF: every `tokenizer.*` key: chat templates, special tokens, token types, scores, pre-tokenizer, flags.
- an ONNX folder: the pipeline of tokenizer.json, named tokens and chat templates, and the BOS and
  EOS ids in genai_config.json.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.gguf_header import read_metadata
from edgeproof.contracts.onnx_folder import NAME as GENAI_CONFIG
from edgeproof.contracts.onnx_folder import read_genai_config, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PREFIX = "tokenizer."
_STEPS = ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder")
"""Parts of tokenizer.json, without `truncation` and `padding`, which are disabled when it is loaded."""
_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "add_bos_token", "add_eos_token", "chat_template")
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_ENDS = ("bos_token_id", "eos_token_id")


def gguf_prompt_digest(path: Path) -> str:
    """Return the digest of the GGUF at `path`; errors as for `read_metadata`."""
    entries = read_metadata(path, ArtifactError)
    return _digest({entry.key: entry.value for entry in entries if entry.key.startswith(PREFIX)})


def folder_prompt_digest(folder: Path) -> str:
    """Return the digest of a folder with tokenizer.json, and genai_config.json if present.

    Raises:
        ArtifactError: a file cannot be read, or is not a JSON object.

    """
    content: dict[str, object] = {"tokenizer.json": _pipeline(read_json(folder / "tokenizer.json"))}
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            values = read_json(folder / name)
            content[name] = {key: _text(values[key]) for key in _NAMED if values.get(key) is not None}
    for name in _TEMPLATES:
        if (folder / name).is_file():
            content[name] = (folder / name).read_bytes().decode("utf-8", "surrogateescape")
    if (folder / GENAI_CONFIG).is_file():
        model = read_genai_config(folder).get("model")
        content[GENAI_CONFIG] = {key: model.get(key) for key in _ENDS} if isinstance(model, dict) else None
    return _digest(content)


def _pipeline(description: Mapping[str, object]) -> dict[str, object]:
    """Return the content of tokenizer.json without the vocabulary; merges in a canonical spelling."""
    model = description.get("model")
    kept: dict[str, object] = {}
    for key, value in (model if isinstance(model, dict) else {}).items():
        if key == "merges":
            kept[key] = [_merge(one) for one in value] if isinstance(value, list) else value or []
        elif key != "vocab" or isinstance(value, list):  # a list has scores (Unigram)
            kept[key] = value
    return {"model": kept} | {key: description.get(key) for key in _STEPS}


def _merge(value: object) -> object:
    """Return a merge of two strings, stored as one or as a pair, as one; other values, which no engine loads, as is."""
    pair = isinstance(value, list) and all(isinstance(piece, str) for piece in value)
    return " ".join(value) if isinstance(value, list) and pair else value


def _text(value: object) -> object:
    """Return a token's text, stored as a string or in an object; other values unchanged."""
    return value.get("content", value) if isinstance(value, dict) else value


def _digest(content: Mapping[str, object]) -> str:
    # Lone surrogates, which represent invalid UTF-8, and NaN have their own spelling in this JSON.
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()

"""Our `tokenizer.*` keys are those of llama.cpp's converter: names, order, types, values."""

from __future__ import annotations

import json

import pytest
from edgeproof.export.tokenizer.metadata import tokenizer_metadata
from edgeproof_tests.export.tokenizer.folders import KINDS
from gguf import GGUFReader

LIKE_THE_OFFICIAL = [kind for kind in KINDS if kind not in {"lfm2", "gemma2", "gemma3"}]
"""LFM2's vocabulary is Llama 3's here, which the converter knows by another name; Gemma's has no tokenizer.model."""


def official_entries(path):
    return [
        (key, field.contents(), field.types[0].name, field.types[1].name if len(field.types) > 1 else None)
        for key, field in GGUFReader(path).fields.items()
        if key.startswith("tokenizer.")
    ]


def same(value, official) -> bool:
    return list(value) == list(official) if isinstance(value, list | tuple) else value == official


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIKE_THE_OFFICIAL)
def test_keys_equal_the_official_converters(kind, tokenizer_folder, official_vocabulary):
    folder = tokenizer_folder(kind)
    ours = tokenizer_metadata(folder, json.loads((folder / "config.json").read_text()))
    official = official_entries(official_vocabulary(kind))
    assert [entry.key for entry in ours] == [key for key, *_ in official]
    for entry, (key, value, kind_name, item_kind) in zip(ours, official, strict=True):
        assert (entry.kind, entry.item_kind) == (kind_name, item_kind), key
        assert same(entry.value, value), f"{key}: {first_difference(entry.value, value)}"


def first_difference(ours, official):
    if not isinstance(ours, list):
        return ours, official
    return next(((i, a, b) for i, (a, b) in enumerate(zip(ours, official, strict=False)) if a != b), "lengths")

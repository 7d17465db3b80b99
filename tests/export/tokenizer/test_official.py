"""Our `tokenizer.*` keys are those of llama.cpp's converter: names, order, types, values."""

from __future__ import annotations

import json

import pytest
from edgeproof.export.tokenizer.metadata import tokenizer_metadata
from edgeproof_tests.export.tokenizer.folders import KINDS, OFFICIAL_ONLY, gguf_entries

LIKE_THE_OFFICIAL = [kind for kind in (*KINDS, *OFFICIAL_ONLY) if kind not in {"lfm2", "gemma2", "gemma3"}]
"""LFM2's vocabulary is Llama 3's here, which the converter knows by another name; Gemma's has no tokenizer.model."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIKE_THE_OFFICIAL)
def test_keys_equal_the_official_converters(kind, tokenizer_folder, official_vocabulary):
    folder = tokenizer_folder(kind)
    ours = tokenizer_metadata(folder, json.loads((folder / "config.json").read_text()))
    official = gguf_entries(official_vocabulary(kind))
    assert [entry.key for entry in ours] == [key for key in official if key.startswith("tokenizer.")]
    for entry in ours:
        stored = official[entry.key]
        assert (entry.kind, entry.item_kind) == (stored.kind, stored.item_kind), entry.key
        assert entry.value == stored.value, f"{entry.key}: {first_difference(entry.value, stored.value)}"


def first_difference(ours, official):
    if not isinstance(ours, list):
        return ours, official
    return next(((i, a, b) for i, (a, b) in enumerate(zip(ours, official, strict=False)) if a != b), "lengths")

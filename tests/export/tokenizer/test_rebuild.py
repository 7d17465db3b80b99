"""A tokenizer rebuilt from a GGUF gives the ids of the checkpoint that the GGUF came from, and of llama.cpp."""

from __future__ import annotations

import pytest
from edgeproof.export.gguf_base import read_metadata
from edgeproof.export.tokenizer.rebuild import rebuild_tokenizer
from edgeproof.export.tokenizer.traps import TRAPS
from edgeproof_tests.export.tokenizer.folders import KINDS

FILES_OWN_CHAIN = {"llama2", "phi3"}
"""transformers 5 gives Llama's tokenizers a chain of its own, not the file's."""


def rebuilt(path, texts=(), **changes):
    metadata = read_metadata(path)
    rows = len(next(entry.value for entry in metadata if entry.key == "tokenizer.ggml.tokens"))
    return rebuild_tokenizer(path, metadata, rows=rows, texts=texts, **changes)


def loaded(files):
    from tokenizers import Tokenizer

    return Tokenizer.from_str(files["tokenizer.json"].decode())


@pytest.mark.torch
@pytest.mark.parametrize("kind", KINDS)
def test_ids_equal_transformers_on_the_checkpoints_own_folder(kind, tokenizer_folder, vocabulary, tofu_texts):
    transformers = pytest.importorskip("transformers")
    made = rebuilt(vocabulary(kind))
    loader = transformers.AutoTokenizer if kind not in FILES_OWN_CHAIN else transformers.PreTrainedTokenizerFast
    theirs = loader.from_pretrained(tokenizer_folder(kind))
    ours = loaded(made.files)
    texts = [*TRAPS, *tofu_texts[:500]]
    different = [
        text for text, ids in zip(texts, theirs(texts)["input_ids"], strict=True) if ours.encode(text).ids != ids
    ]
    assert different == []

"""What must hold of every kind of memory: sliding windows and convolutions too give equal bits in any batch."""

from __future__ import annotations

import random

import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.progress import Silent
from edgeproof.contracts.tensors import MetadataEntry
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof_tests.models import VOCABULARY, save_model
from edgeproof_tests.smollm2 import quantized

TOKENS = [f"<{index}>" for index in range(VOCABULARY - 256)] + [chr(0x100 + index) for index in range(256)]
TOKENIZER = (
    MetadataEntry("tokenizer.ggml.model", "gpt2", "STRING"),
    MetadataEntry("tokenizer.ggml.pre", "gpt-2", "STRING"),
    MetadataEntry("tokenizer.ggml.tokens", TOKENS, "ARRAY", "STRING"),
    MetadataEntry("tokenizer.ggml.token_type", [1] * VOCABULARY, "ARRAY", "INT32"),
    MetadataEntry("tokenizer.ggml.merges", ["Ā ā"], "ARRAY", "STRING"),
    MetadataEntry("tokenizer.ggml.eos_token_id", VOCABULARY - 1, "UINT32"),
)


def write_family(family, folder):
    """A tiny model of the family in Q4_K_M."""
    from edgeproof.export.architectures import describe
    from edgeproof.export.base.checkpoint import open_checkpoint
    from edgeproof.export.formats import find_format
    from edgeproof.export.stream import run_stream

    checkpoint = open_checkpoint(save_model(family, folder / "model"))
    description = describe(checkpoint, TOKENIZER, name="Tiny")
    chosen, path = find_format("gguf-f32"), folder / "f32.gguf"
    run_stream(checkpoint, [chosen.open(description, path, chosen)], description, threads=1, progress=Silent())
    return quantized(path, folder / "q4.gguf", "Q4_K_M")


@pytest.mark.torch
@pytest.mark.parametrize("family", ["gemma3", "lfm2"])
def test_scores_and_generations_do_not_depend_on_the_batch(family, tmp_path):
    chance = random.Random(0)
    base = [chance.randrange(VOCABULARY) for _ in range(200)]

    def some(count):
        return tuple(chance.randrange(VOCABULARY) for _ in range(count))

    requests = [
        ScoreRequest((*base[: chance.choice((1, 10, 40, 150))], *some(chance.randrange(20))), some(1 + index % 7))
        for index in range(30)
    ]
    asked = [GenerateRequest(request.context, 8, (), 1.0, seed) for seed, request in enumerate(requests[:12])]
    with LlamaCpp(write_family(family, tmp_path), threads=1) as backend:
        for one, request in zip(backend.score(requests), requests, strict=True):
            (alone,) = backend.score([request])
            assert all((left == right).all() for left, right in zip(one, alone, strict=True))
        assert list(backend.generate(asked)) == [next(backend.generate([request])) for request in asked]

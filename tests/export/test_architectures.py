"""Every family's GGUF is the one that llama.cpp's own converter writes, and llama.cpp computes from it what torch does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from edgeproof.contracts.errors import CheckpointError, TokenizerError, UnsupportedError
from edgeproof.contracts.progress import Silent
from edgeproof.contracts.tensors import MetadataEntry, TensorInfo
from edgeproof.export.architectures import FAMILIES as REGISTRY
from edgeproof.export.architectures import describe, read_hyper_parameters
from edgeproof.export.checkpoint import open_checkpoint
from edgeproof.export.formats import find_format
from edgeproof.export.stream import run_stream
from edgeproof_tests.models import FAMILIES, VOCABULARY, random_model, save_model, tiny_config
from edgeproof_tests.official.converter import Job, convert_with_tokens

if TYPE_CHECKING:
    from pathlib import Path

NAME = "Tiny"
ALPHABET = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
TOKENS = [*ALPHABET, "he", *(f"<unused{index}>" for index in range(VOCABULARY - len(ALPHABET) - 1))]
TOKENIZER = (
    MetadataEntry("tokenizer.ggml.model", "gpt2", "STRING"),
    MetadataEntry("tokenizer.ggml.pre", "gpt-2", "STRING"),
    MetadataEntry("tokenizer.ggml.tokens", TOKENS, "ARRAY", "STRING"),
    MetadataEntry("tokenizer.ggml.token_type", [1] * VOCABULARY, "ARRAY", "INT32"),
    MetadataEntry("tokenizer.ggml.merges", ["h e"], "ARRAY", "STRING"),
    MetadataEntry("tokenizer.ggml.eos_token_id", VOCABULARY - 1, "UINT32"),
)
CARD = """---
license: apache-2.0
base_model: nobody/Tiny-3B-Base
language: [en, fr]
tags: [unlearning, tiny]
pipeline_tag: text-generation
---
A model card.
"""
LIMIT_NAT = 2e-4
"""Mean |Δ log p| between llama.cpp and torch, both float32. A wrong norm, rope or scale gives 0.01 and much more."""


class Converted(NamedTuple):
    folder: Path
    official_f32: Path
    official_f16: Path


@pytest.fixture(scope="module")
def converted(official, tmp_path_factory):
    """Every variant as a Hugging Face folder and as llama.cpp's converter writes it; the converter runs once for all.

    The folders' names have a space, so that the converter takes no basename or size from them.
    """
    root = tmp_path_factory.mktemp("families")
    found = {
        family: Converted(root / f"tiny {family}", root / f"{family}-f32.gguf", root / f"{family}-f16.gguf")
        for family in FAMILIES
    }
    jobs = []
    for family, (folder, f32, f16) in found.items():
        save_model(family, folder)
        (folder / "generation_config.json").write_text('{"temperature": 0.6, "top_k": 20, "repetition_penalty": 1.05}')
        (folder / "README.md").write_text(CARD)
        jobs += [Job(folder, f32, "f32", NAME), Job(folder, f16, "f16", NAME)]
    convert_with_tokens(official, jobs, TOKENS, root)
    return found


def read_gguf(path: Path):
    """Return the keys with their values and types, and the tensors, in the file's order."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    keys = [
        (name, field.contents(), [kind.name for kind in field.types])
        for name, field in reader.fields.items()
        if not name.startswith("GGUF.")
    ]
    return keys, reader.tensors


def export(folder: Path, target: Path, format_name: str = "gguf-f32") -> Path:
    checkpoint = open_checkpoint(folder)
    description = describe(checkpoint, TOKENIZER, name=NAME)
    chosen = find_format(format_name)
    run_stream(checkpoint, [chosen.open(description, target, chosen)], description, threads=2, progress=Silent())
    return target


@pytest.mark.official
@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_metadata_is_the_converters(converted, family):
    folder, path, _ = converted[family]
    description = describe(open_checkpoint(folder), TOKENIZER, name=NAME)
    ours = [
        (entry.key, entry.value, [entry.kind, *([entry.item_kind] if entry.item_kind else [])])
        for entry in description.metadata
    ]
    theirs, _ = read_gguf(path)
    assert [(key, kinds) for key, _, kinds in ours] == [(key, kinds) for key, _, kinds in theirs]
    for (key, value, kinds), (_, expected, _) in zip(ours, theirs, strict=True):
        if key == "general.quantization_version":
            assert value == 0
            assert expected == 2
        elif kinds == ["FLOAT32"]:
            assert np.float32(value) == np.float32(expected), key
        else:
            assert value == expected, key


@pytest.mark.official
@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_tensors_are_the_converters(converted, family):
    folder, path, _ = converted[family]
    checkpoint = open_checkpoint(folder)
    description = describe(checkpoint, TOKENIZER, name=NAME)
    _, theirs = read_gguf(path)
    assert [tensor.name for tensor in description.tensors] == [tensor.name for tensor in theirs]
    for ours, expected in zip(description.tensors, theirs, strict=True):
        if ours.constant is not None:
            rows = ours.constant
        else:
            rows = ours.transform(checkpoint.rows(ours.source, 0, checkpoint.tensors[ours.source].rows))
        assert ours.shape == tuple(reversed([int(size) for size in expected.shape])), ours.name
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows.reshape(ours.shape), expected.data.reshape(ours.shape), err_msg=ours.name)


@pytest.mark.official
@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_float_files_are_the_converters_byte_for_byte(converted, family, tmp_path):
    folder, f32, f16 = converted[family]
    assert export(folder, tmp_path / "f32.gguf", "gguf-f32").read_bytes() == f32.read_bytes()
    assert export(folder, tmp_path / "f16.gguf", "gguf-f16").read_bytes() == f16.read_bytes()


@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("length", "context"), [(96, 128), (200, 512)])
def test_llama_cpp_computes_what_torch_does(family, length, context, tmp_path):
    # Beyond the sliding window (24) and the context that llama3's scaling starts from (64); 200 is beyond longrope's 128.
    folder = save_model(family, tmp_path / "model")
    path = export(folder, tmp_path / "model.gguf")
    tokens = np.random.default_rng(0).integers(0, VOCABULARY - 2, length)
    ours, theirs = llama_cpp_logprobs(path, tokens, context), torch_logprobs(family, tokens)
    difference = np.abs(ours - theirs)
    assert difference.mean() < LIMIT_NAT, f"mean {difference.mean():.2e}, largest {difference.max():.2e}"


def torch_logprobs(family: str, tokens):
    import torch

    with torch.inference_mode():
        logits = random_model(tiny_config(family))(torch.tensor(tokens)[None]).logits[0]
        return torch.log_softmax(logits.double(), -1).numpy()


def llama_cpp_logprobs(path: Path, tokens, context: int):
    import llama_cpp

    f32 = llama_cpp.GGML_TYPE_F32
    model = llama_cpp.Llama(
        str(path), n_ctx=context, n_threads=2, logits_all=True, type_k=f32, type_v=f32, flash_attn=False, verbose=False
    )
    try:
        model.eval([int(token) for token in tokens])
        scores = np.array(model.scores[: len(tokens)], dtype=np.float64)
    finally:
        model.close()
    largest = scores.max(-1, keepdims=True)
    return scores - largest - np.log(np.exp(scores - largest).sum(-1, keepdims=True))

"""Every family's GGUF is the one of llama.cpp's own converter, and llama.cpp computes from it what torch does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.contracts.tensors import MetadataEntry
from edgeproof.export.architectures import describe
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.formats import find_format
from edgeproof.export.stream import run_stream
from edgeproof_tests.models import FAMILIES, VOCABULARY, random_model, save_model, tiny_config, write_older_layout
from edgeproof_tests.official.converter import Job, convert_with_tokens

NAME = "Tiny"
SHARDED = {"dtype": "bfloat16", "shard_size": "1MB"}
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
QUANTIZED = {
    "gguf-q4": "Q4_K_M",
    "gguf-q4_0": "Q4_0",
    "gguf-q4_1": "Q4_1",
    "gguf-q4_k_s": "Q4_K_S",
    "gguf-iq4_nl": "IQ4_NL",
    "gguf-q8_0": "Q8_0",
}
LIMIT_NAT = 1e-4
"""Mean |Δ log p| between llama.cpp and torch, both float32. Found: at most 6e-5; a wrong norm or rope gives 0.01 up."""


class Converted(NamedTuple):
    """A checkpoint, and the file that llama.cpp's converter makes of it."""

    folder: Path
    file: Path


FORMS = ("f32", "f16", "older-layout", "sharded-bf16")
"""To float32 and to float16; to float32 from transformers 4's config.json, and from bfloat16 in several files."""


@pytest.fixture(scope="module")
def converted(official, tmp_path_factory):
    """Every variant in every form, as a folder and as llama.cpp's converter writes it; the converter runs once for all.

    The folders' names have a space, so that the converter takes no basename or size from them.
    """
    root = tmp_path_factory.mktemp("families")
    found = {}
    jobs = []
    for family in FAMILIES:
        plain = root / f"tiny {family}"
        save_model(family, plain)
        (plain / "generation_config.json").write_text('{"temperature": 0.6, "top_k": 20, "repetition_penalty": 1.05}')
        (plain / "README.md").write_text(CARD)
        for form in FORMS:
            folder = plain
            if form == "older-layout":
                folder = Path(shutil.copytree(plain, root / f"tiny older {family}"))
                write_older_layout(folder)
            if form == "sharded-bf16":
                folder = save_model(family, root / f"tiny sharded {family}", **SHARDED)
            found[family, form] = Converted(folder, root / f"{family}-{form}.gguf")
            jobs.append(Job(folder, found[family, form].file, "f16" if form == "f16" else "f32", NAME))
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
    folder, path = converted[family, "f32"]
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
    folder, path = converted[family, "f32"]
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
@pytest.mark.parametrize("form", FORMS)
def test_float_files_are_the_converters_byte_for_byte(converted, family, form, tmp_path):
    folder, official_file = converted[family, form]
    format_name = "gguf-f16" if form == "f16" else "gguf-f32"
    assert export(folder, tmp_path / "ours.gguf", format_name).read_bytes() == official_file.read_bytes()


@pytest.mark.official
@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_quantized_files_are_those_of_converter_and_llama_quantize_byte_for_byte(official, converted, family, tmp_path):
    folder, float_file = converted[family, "f32"]
    for format_name, scheme in QUANTIZED.items():
        ours, theirs = tmp_path / f"{format_name}.gguf", tmp_path / f"{scheme}.gguf"
        export(folder, ours, format_name)
        official.run("llama-quantize", float_file, theirs, scheme, 2)
        assert ours.read_bytes() == theirs.read_bytes(), scheme


@pytest.mark.torch
@pytest.mark.parametrize(
    ("family", "length", "context"), [*((family, 300, 512) for family in FAMILIES), ("phi3-longrope", 96, 256)]
)
def test_llama_cpp_computes_what_torch_does(family, length, context, tmp_path):
    # 300 is beyond the sliding window (24) and the context that llama3's, yarn's and longrope's scaling start from; 96
    # is not beyond longrope's 256. llama.cpp chooses its factors by the context's size, torch by the text's.
    folder = save_model(family, tmp_path / "model")
    path = export(folder, tmp_path / "model.gguf")
    tokens = np.random.default_rng(0).integers(0, VOCABULARY - 2, length)
    ours, theirs = llama_cpp_logprobs(path, tokens, context), torch_logprobs(family, tokens)
    difference = np.abs(ours - theirs)
    assert difference.mean() < LIMIT_NAT, f"mean {difference.mean():.2e}, largest {difference.max():.2e}"


def torch_logprobs(family: str, tokens):
    import torch

    model = random_model(tiny_config(family))
    for module in model.modules():
        if family.startswith("gemma") and hasattr(module, "act_fn"):
            module.act_fn.forward = gelu_by_table
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor(tokens)[None]).logits[0]
        return torch.log_softmax(logits.double(), -1).numpy()


def gelu_by_table(values):
    """GELU as llama.cpp's CPU code has it: from a table over all float16 inputs, in float16, but for the far ends."""
    import torch

    table = torch.nn.functional.gelu(values.half().float(), approximate="tanh").half().float()
    return torch.where(values <= -10, 0.0, torch.where(values >= 10, values, table))


def llama_cpp_logprobs(path: Path, tokens, context: int):
    import llama_cpp
    from edgeproof_tests.llama_cpp_model import library_model

    f32 = llama_cpp.GGML_TYPE_F32
    model = library_model(path, n_ctx=context, n_threads=2, logits_all=True, type_k=f32, type_v=f32, flash_attn=False)
    try:
        model.eval([int(token) for token in tokens])
        scores = np.array(model.scores[: len(tokens)], dtype=np.float64)
    finally:
        model.close()
    largest = scores.max(-1, keepdims=True)
    return scores - largest - np.log(np.exp(scores - largest).sum(-1, keepdims=True))

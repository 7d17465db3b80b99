"""A whole GGUF file equals llama.cpp's own, byte for byte, and nothing else is ever left behind."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.errors import CheckpointError, InputError, OutputError, UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.contracts.tensors import MetadataEntry, ModelDescription, OutputTensor, RowChunk
from edgeproof.export.formats import FORMATS, find_format
from edgeproof.export.gguf.imatrix import Imatrix
from edgeproof.export.gguf.writer import GgufWriter
from edgeproof.export.stream import run_stream
from gguf import GGUFReader, GGUFWriter

if TYPE_CHECKING:
    from pathlib import Path

QUANTIZED = [name for name, form in FORMATS.items() if form.scheme not in {"F16", "F32"}]

# k-quants as they are; rows of 288 and 576 (SmolLM2) that fall back; rows of 72 that no block of 32 fits; many heads a
# key-value head; more layers, so that the layers with more bits differ from the others; a mixture of experts.
SHAPES = {
    "256": {"layers": 2},
    "256 untied": {"tied": False, "layers": 1, "ffn": 256},
    "288": {"hidden": 288, "ffn": 96, "heads": 9, "heads_kv": 3, "layers": 2},
    "576": {"hidden": 576, "ffn": 192, "heads": 9, "heads_kv": 3, "layers": 1},
    "576 untied": {"hidden": 576, "ffn": 192, "heads": 9, "heads_kv": 3, "tied": False, "layers": 1},
    "80": {"hidden": 80, "ffn": 144, "heads": 1, "heads_kv": 1, "layers": 1},
    "grouped": {"heads": 8, "heads_kv": 1, "layers": 9, "ffn": 32},
    "experts 4": {"experts": 4, "layers": 1, "ffn": 64},
    "experts 8": {"experts": 8, "layers": 1, "tied": False, "ffn": 32},
    "qwen2": {"architecture": "qwen2", "layers": 1, "ffn": 256},
}


def equal_files(ours: Path, theirs: Path) -> None:
    if ours.read_bytes() == theirs.read_bytes():
        return
    one, other = GGUFReader(ours), GGUFReader(theirs)
    assert list(one.fields) == list(other.fields)
    assert [(t.name, t.tensor_type.name, list(t.shape)) for t in one.tensors] == [
        (t.name, t.tensor_type.name, list(t.shape)) for t in other.tensors
    ]
    for mine, its in zip(one.tensors, other.tensors, strict=True):
        assert mine.data.tobytes() == its.data.tobytes(), mine.name
    pytest.fail("the tensors are equal, the bytes between them are not")


@pytest.fixture(scope="module")
def float_file(tmp_path_factory, tiny_model, export):
    """Our own gguf-f32 of each shape, written once."""
    made = {}

    def make(shape):
        if shape not in made:
            tiny = tiny_model(**SHAPES[shape])
            path = tmp_path_factory.mktemp("f32") / "f32.gguf"
            export(tiny, "gguf-f32", path)
            made[shape] = tiny, path
        return made[shape]

    return make


def random_imatrix(tiny, *, without=(), seed=1) -> Imatrix:
    random = np.random.default_rng(seed)
    weights = {
        tensor.name: random.gamma(1.0, 1.0, int(np.prod(tensor.shape[:-2])) * tensor.shape[-1]).astype(np.float32)
        for tensor in tiny.description.tensors
        if len(tensor.shape) >= 2 and tensor.name != "token_embd.weight" and not any(w in tensor.name for w in without)
    }
    return Imatrix("some/imatrix.gguf", weights, ("text.txt",), 7)


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_equals_llama_model_quantize(shape, name, tmp_path, float_file, export, official_quantize):
    tiny, f32 = float_file(shape)
    export(tiny, name, tmp_path / "ours.gguf")
    official_quantize(f32, tmp_path / "theirs.gguf", FORMATS[name].scheme)
    equal_files(tmp_path / "ours.gguf", tmp_path / "theirs.gguf")


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("shape", ["256", "576 untied", "grouped", "experts 4"])
def test_a_file_equals_llama_model_quantize_with_an_imatrix(
    shape, name, tmp_path, float_file, export, official_quantize
):
    tiny, f32 = float_file(shape)
    imatrix = random_imatrix(tiny, without=["blk.1.attn_q"])
    export(tiny, name, tmp_path / "ours.gguf", imatrix=imatrix)
    official_quantize(f32, tmp_path / "theirs.gguf", FORMATS[name].scheme, imatrix=imatrix)
    equal_files(tmp_path / "ours.gguf", tmp_path / "theirs.gguf")


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("gguf-q4", ["attn_v=q8_0"]),
        ("gguf-q4", [r"blk\.[02]\.ffn_down=Q4_K", "ffn_down=q5_k", "Token_Embd=q4_0"]),
        ("gguf-q4_k_s", ["attn_(k|q)=f16", "attn=bf16", "ffn_up=f32", r"\.1\..*_gate=iq4_xs", "output=q2_k"]),
        ("gguf-q4_0", ["ffn_down=q3_k", "attn_q=tq1_0", "attn_k=tq2_0", "ffn_up=q5_1"]),
        ("gguf-q8_0", ["no_such_tensor=q4_0", "ffn=q6_k"]),
    ],
)
@pytest.mark.parametrize("shape", ["256 untied", "288", "grouped"])
def test_a_file_equals_llama_model_quantize_with_overrides(
    shape, name, overrides, tmp_path, float_file, export, official_quantize
):
    tiny, f32 = float_file(shape)
    export(tiny, name, tmp_path / "ours.gguf", overrides=overrides)
    official_quantize(f32, tmp_path / "theirs.gguf", FORMATS[name].scheme, overrides=overrides)
    equal_files(tmp_path / "ours.gguf", tmp_path / "theirs.gguf")


def test_low_bit_overrides_with_an_imatrix_equal_llama_model_quantize(tmp_path, float_file, export, official_quantize):
    tiny, f32 = float_file("256 untied")
    imatrix = random_imatrix(tiny)
    overrides = ["ffn_up=iq3_s", "attn_k=iq2_s", "attn_v=iq1_m"]
    export(tiny, "gguf-q4", tmp_path / "ours.gguf", imatrix=imatrix, overrides=overrides)
    official_quantize(f32, tmp_path / "theirs.gguf", "Q4_K_M", imatrix=imatrix, overrides=overrides)
    equal_files(tmp_path / "ours.gguf", tmp_path / "theirs.gguf")

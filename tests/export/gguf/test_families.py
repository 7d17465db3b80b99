"""Real descriptions of every family, and the real SmolLM2, merged with an adapter: each file is llama.cpp's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.contracts.tensors import MetadataEntry
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.architectures import describe
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.base.gguf_file import open_gguf_base
from edgeproof.export.formats import FORMATS
from edgeproof.export.gguf.imatrix import Imatrix
from edgeproof.export.merge.merged import MergedModel
from edgeproof.export.stream import run_stream
from edgeproof_tests.export.conftest import exact
from edgeproof_tests.models import FAMILIES, VOCABULARY, save_model

if TYPE_CHECKING:
    from pathlib import Path

QUANTIZED = [name for name, form in FORMATS.items() if form.kind == "gguf" and form.scheme not in {"F16", "F32"}]
TOKENIZER = (
    MetadataEntry("tokenizer.ggml.model", "gpt2", "STRING"),
    MetadataEntry("tokenizer.ggml.tokens", [f"<{index}>" for index in range(VOCABULARY)], "ARRAY", "STRING"),
)


def write_adapter(base_shapes, folder: Path, *, rank: int = 8) -> Path:
    """A random LoRA, as peft saves it, on every matrix in a layer of a model with these tensors.

    Its products are exact, and its scaling is a power of two: every BLAS gives the same merge.
    """
    from safetensors.numpy import save_file

    random = np.random.default_rng(5)
    tensors, modules = {}, set()
    for name, shape in base_shapes.items():
        module = name.removesuffix(".weight")
        if ".layers." in name and module != name and len(shape) == 2:
            stem = f"base_model.model.{module}"
            tensors[f"{stem}.lora_A.weight"] = exact(random.normal(0, 0.05, (rank, shape[1])))
            tensors[f"{stem}.lora_B.weight"] = exact(random.normal(0, 0.05, (shape[0], rank)))
            modules.add(module.rpartition(".")[2])
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "target_modules": sorted(modules), "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "task_type": "CAUSAL_LM"}))
    return folder


def write_all(model, description, folder, formats, **options) -> dict[str, Path]:
    """Every format and gguf-f32 in one pass."""
    paths = {name: folder / f"{name}.gguf" for name in ("gguf-f32", *formats)}
    writers = [FORMATS[name].open(description, path, FORMATS[name], **options) for name, path in paths.items()]
    run_stream(model, writers, description, threads=2, progress=Silent())
    return paths


def imatrix_for(description) -> Imatrix:
    random = np.random.default_rng(2)
    weights = {
        tensor.name: random.gamma(1.0, 1.0, tensor.shape[-1]).astype(np.float32)
        for tensor in description.tensors
        if len(tensor.shape) == 2 and "token_embd" not in tensor.name
    }
    return Imatrix("imatrix.gguf", weights, ("wiki.txt",), 4)


def assert_equal(ours: Path, theirs: Path) -> None:
    assert ours.read_bytes() == theirs.read_bytes(), f"{ours.name} differs"


@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_every_format_of_every_family_equals_llama_model_quantize(family, tmp_path, official_quantize):
    save_model(family, tmp_path / "base")
    base = open_checkpoint(tmp_path / "base")
    adapter = load_adapter(
        write_adapter({name: info.shape for name, info in base.tensors.items()}, tmp_path / "adapter")
    )
    model = MergedModel(base, [adapter])
    description = describe(model, TOKENIZER, name="Tiny")
    ours = write_all(model, description, tmp_path, QUANTIZED)
    for name in QUANTIZED:
        official_quantize(ours["gguf-f32"], tmp_path / "theirs.gguf", FORMATS[name].scheme)
        assert_equal(ours[name], tmp_path / "theirs.gguf")

    imatrix, overrides = imatrix_for(description), ["attn_k=q8_0", r"blk\.1\.ffn_down=q3_k"]
    for path in ours.values():
        path.unlink()
    ours = write_all(model, description, tmp_path, ["gguf-q4", "gguf-q4_0"], imatrix=imatrix, overrides=overrides)
    for name in ("gguf-q4", "gguf-q4_0"):
        official_quantize(
            ours["gguf-f32"], tmp_path / "theirs.gguf", FORMATS[name].scheme, imatrix=imatrix, overrides=overrides
        )
        assert_equal(ours[name], tmp_path / "theirs.gguf")


@pytest.mark.slow
def test_smollm2_with_a_random_adapter_equals_llama_model_quantize(
    smollm2_file,
    tmp_path,
    official_quantize,
):
    base = open_gguf_base(smollm2_file("F32"))
    targets = base.targets()
    stored = {name: base.tensors[target.name] for name, target in targets.items() if target.name in base.tensors}
    shapes = {name: info.shape for name, info in stored.items()}
    model = MergedModel(base, [load_adapter(write_adapter(shapes, tmp_path / "adapter"))], targets)
    description = base.describe(model.tensors)
    ours = write_all(model, description, tmp_path, QUANTIZED)
    for name in QUANTIZED:
        official_quantize(ours["gguf-f32"], tmp_path / "theirs.gguf", FORMATS[name].scheme)
        assert_equal(ours[name], tmp_path / "theirs.gguf")

    (tmp_path / "i").mkdir()
    formats, imatrix = ["gguf-q4", "gguf-q4_0"], imatrix_for(description)
    ours = write_all(model, description, tmp_path / "i", formats, imatrix=imatrix, overrides=["ffn_up=q5_1"])
    for name in formats:
        official_quantize(
            ours["gguf-f32"], tmp_path / "theirs.gguf", FORMATS[name].scheme, imatrix=imatrix, overrides=["ffn_up=q5_1"]
        )
        assert_equal(ours[name], tmp_path / "theirs.gguf")

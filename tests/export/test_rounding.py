"""The rounding that training sees is what a real export's file holds: read back by gguf, and from the ONNX folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.errors import TrainingError, UnsupportedError
from edgeproof.contracts.progress import Silent
from edgeproof.export.base.gguf_file import open_gguf_base
from edgeproof.export.gguf import kernels
from edgeproof.export.pipeline import ExportOptions, export
from edgeproof.export.rounding import open_rounding
from edgeproof_tests.export.onnx.conftest import arrays
from edgeproof_tests.export.onnx.test_families import dequantized
from edgeproof_tests.models import save_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torch, pytest.mark.blas]

GGUF = ("gguf-q4_0", "gguf-q4_1", "gguf-q4", "gguf-q4_k_s", "gguf-iq4_nl", "gguf-q8_0", "gguf-f16", "gguf-f32")
ONNX = ("onnx-int4", "onnx-int4-mixed", "onnx-int8", "onnx-fp32")
NARROW = {"hidden_size": 288, "intermediate_size": 480, "head_dim": 72}
"""No multiple of 256, as SmolLM2's: K-quants fall back to other types."""
FAMILIES = {"llama": ("llama", {}), "narrow": ("llama", NARROW), "phi3": ("phi3", {}), "gemma2": ("gemma2", {})}
Q = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            family, changes = FAMILIES[name]
            made[name] = save_model(family, tmp_path_factory.mktemp(name) / "model", **changes)
        return made[name]

    return make


@pytest.fixture(scope="module")
def artifacts(folders, tmp_path_factory):
    """`artifacts("llama")["gguf-q4"]`: a real export of the folder."""
    made: dict[str, dict[str, Path]] = {}

    def make(name: str) -> dict[str, Path]:
        if name not in made:
            out = tmp_path_factory.mktemp(f"{name}-artifacts")
            done = export(folders(name), [], [*GGUF, *ONNX], out, threads=1, progress=Silent())
            made[name] = {item.format: item.path for item in done}
        return made[name]

    return make


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def gguf_matrices(path: Path, folder: Path) -> dict[str, np.ndarray]:
    """The file's matrices by Hugging Face name and in its order of rows, dequantized by the official package."""
    import gguf
    from gguf.quants import dequantize

    config = json.loads((folder / "config.json").read_text())
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    known = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(known[config["model_type"]], config["num_hidden_layers"])
    found = {}
    for name in (name for name, values in weights_of(folder).items() if values.ndim == 2):
        tensor = stored.pop(names.get_name(name, try_suffixes=(".weight",)))
        values = dequantize(tensor.data, tensor.tensor_type)
        if config["model_type"] == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            # llama.cpp's graph pairs neighbours: rows 2i and 2i + 1 of a head there are rows i and i + dim/2 here.
            dim = config["head_dim"]
            back = np.empty_like(values)
            back[np.arange(len(values)).reshape(-1, 2, dim // 2).swapaxes(1, 2).reshape(-1)] = values
            values = back
        found[name] = values
    assert not [name for name, tensor in stored.items() if len(tensor.shape) > 1]
    return found


def onnx_matrices(path: Path, folder: Path) -> dict[str, np.ndarray]:
    """The folder's matrices by Hugging Face name, from its own arrays."""
    ours, found = weights_of(folder), arrays(path)

    def stored(name: str, columns: int) -> np.ndarray:
        return dequantized(found, name, columns)

    matrices = {}
    for name, values in ours.items():
        stem, columns = name.removesuffix(".weight"), values.shape[-1]
        layer = stem.partition(".self_attn")[0].partition(".mlp")[0]
        if values.ndim != 2:
            continue
        if stem == "model.embed_tokens":
            if "lm_head.weight" in ours:
                matrices[name] = found["model.embed_tokens.weight"]
            else:
                matrices[name] = stored("lm_head", columns)
        elif stem.endswith("gate_up_proj"):
            both = [stored(f"{layer}.mlp.{part}_proj", columns) for part in ("gate", "up")]
            matrices[name] = np.concatenate(both)
        elif stem.endswith((".q_proj", ".k_proj", ".v_proj")):
            qkv, at = stored(f"{layer}.attn.qkv_proj", columns), 0
            for part in "qkv":
                rows = len(ours[f"{layer}.self_attn.{part}_proj.weight"])
                if stem.endswith(f".{part}_proj"):
                    matrices[name] = qkv[at : at + rows]
                at += rows
        else:
            matrices[name] = stored(stem.replace("self_attn", "attn"), columns)
    return matrices


@pytest.mark.parametrize("form", [*GGUF, *ONNX])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_matrix_is_what_the_real_file_holds_bit_for_bit(family, form, folders, artifacts):
    folder, path = folders(family), artifacts(family)[form]
    held = (gguf_matrices if form.startswith("gguf") else onnx_matrices)(path, folder)
    rounding = open_rounding(folder, form)
    assert rounding.format == form
    changed = 0
    for name, values in weights_of(folder).items():
        rounded = rounding(name, values)
        assert rounded.dtype == np.float32
        assert rounded is not values
        if values.ndim == 2:
            np.testing.assert_array_equal(rounded, held.pop(name), err_msg=name)
            changed += not np.array_equal(rounded, values)
        else:
            np.testing.assert_array_equal(rounded, values)
    assert not held
    assert bool(changed) == (form not in {"gguf-f32", "onnx-fp32"})


def test_the_plan_is_the_exporters_with_its_fallbacks(folders):
    wide, narrow = (open_rounding(folders(name), "gguf-q4").types for name in ("llama", "narrow"))
    assert wide[Q] == ("Q4_K",)
    assert narrow[Q] == ("Q5_0",)
    assert wide["model.embed_tokens.weight"] == ("Q6_K",)
    assert "model.norm.weight" not in wide
    mixed = open_rounding(folders("phi3"), "onnx-int4-mixed").types
    assert mixed["model.layers.0.mlp.gate_up_proj.weight"] == ("uint4 k_quant", "uint4 k_quant")


def test_neither_threads_nor_the_place_among_other_rows_change_a_bit(folders):
    values = weights_of(folders("llama"))["model.embed_tokens.weight"]
    for form in ("gguf-q4", "onnx-int4"):
        one, four = (open_rounding(folders("llama"), form, threads=threads) for threads in (1, 4))
        whole = one("model.embed_tokens.weight", values)
        np.testing.assert_array_equal(four("model.embed_tokens.weight", values), whole)
        flipped = one("model.embed_tokens.weight", values[::-1])
        np.testing.assert_array_equal(flipped[::-1], whole)


def test_a_gguf_base_rounds_by_hugging_face_names_like_its_folder(folders, artifacts):
    """Of the narrow model: its float32 GGUF holds the folder's weights, q and k in llama.cpp's order."""
    folder, base = folders("narrow"), artifacts("narrow")["gguf-f32"]
    for form in ("gguf-q4_1", "gguf-q4", "onnx-int4"):
        ours, theirs = open_rounding(base, form), open_rounding(folder, form)
        for name, values in weights_of(folder).items():
            np.testing.assert_array_equal(ours(name, values), theirs(name, values), err_msg=name)


def test_an_adapters_merge_rounds_to_what_its_export_holds(folders, make_adapter, tmp_path):
    """PEFT's own merge, rounded; the adapter's products are exact, so that the exporter's merge has the same bits."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = folders("llama")
    adapter = make_adapter(folder)
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), adapter).merge_and_unload()
    (item,) = export(folder, [adapter], ["gguf-q4_0"], tmp_path, ExportOptions(), threads=1, progress=Silent())
    held = gguf_matrices(item.path, folder)
    rounding = open_rounding(folder, "gguf-q4_0")
    weights = {name: values.detach().numpy() for name, values in merged.named_parameters() if values.ndim == 2}
    assert weights.keys() == held.keys()
    for name, values in weights.items():
        np.testing.assert_array_equal(rounding(name, values), held[name], err_msg=name)


def test_what_cannot_be_rounded_is_refused_with_the_numbers(folders):
    values = weights_of(folders("llama"))[Q]
    with pytest.raises(UnsupportedError, match="no format 'gguf-q3'"):
        open_rounding(folders("llama"), "gguf-q3")
    rounding = open_rounding(folders("llama"), "gguf-q4_0")
    with pytest.raises(UnsupportedError, match=r"no tensor for model\.layers\.9\.self_attn\.q_proj\.weight"):
        rounding("model.layers.9.self_attn.q_proj.weight", values)
    with pytest.raises(UnsupportedError, match=r"is \[256, 128\] in training and \[256, 256\] in"):
        rounding(Q, values[:, :128])
    broken = values.copy()
    broken[3, 5] = np.nan
    with pytest.raises(TrainingError, match=r"q_proj\.weight holds 1 weights that are NaN or infinite"):
        rounding(Q, broken)
    broken[3, 5] = 1e9
    with pytest.raises(TrainingError, match=r"q_proj\.weight holds 1e\+09, too large for gguf-q4_0"):
        rounding(Q, broken)
    assert np.isfinite(values).all()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["gguf-q4_0", "gguf-q4_1", "gguf-q8_0"])
def test_all_of_smollm2_is_rounded_in_one_pass(form, smollm2_gguf, monkeypatch):
    """Every weight is quantized once; how long that takes beside a training step: benchmarks/rounding_step.py."""
    quantized = []
    quantize = kernels.quantize

    def counted(kind, rows, *more, **options):
        quantized.append(rows.size)
        return quantize(kind, rows, *more, **options)

    monkeypatch.setattr(kernels, "quantize", counted)
    base = open_gguf_base(smollm2_gguf, allow_requantize=True)
    names = {target.name: name for name, target in base.targets().items() if name.startswith("model.")}
    rounding = open_rounding(smollm2_gguf, form)
    weights = 0
    for stored, info in base.tensors.items():
        if stored in names and info.rows > 1:
            values = base.rows(stored, 0, info.rows)
            rounded = rounding(names[stored], values)
            assert np.isfinite(rounded).all()
            assert np.linalg.norm(rounded - values) <= 0.2 * np.linalg.norm(values)
            weights += values.size
    assert weights > 134_000_000
    assert sum(quantized) == weights

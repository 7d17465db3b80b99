"""An untied embedding in few bits: onnxruntime's own codes, run by onnxruntime, measured by the survival map."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from edgeproof.contracts.errors import UsageError
from edgeproof.contracts.progress import Recording, Silent
from edgeproof.export.artifact.kind import identify_format
from edgeproof.export.onnx.weights.quantize import quantize_k_quant, quantize_symmetric
from edgeproof.export.pipeline import ExportOptions, export
from edgeproof.export.survival.artifact import open_artifact
from edgeproof_tests.export.onnx.conftest import Session, arrays, sample_ids
from edgeproof_tests.models import save_model

pytestmark = pytest.mark.torch

SMALL = ExportOptions(small_embedding=True)
FORMATS = ("onnx-int4", "onnx-int4-mixed", "onnx-int8")


@pytest.fixture(scope="module", params=[64, 80], ids=["whole blocks", "ragged"])
def untied(request, tmp_path_factory):
    changes = {"hidden_size": request.param, "intermediate_size": 128, "num_attention_heads": 4, "head_dim": 16}
    return save_model(
        "llama", tmp_path_factory.mktemp("untied") / "tiny", **changes, num_key_value_heads=2, tie_word_embeddings=False
    )


def make(base, out, name, options=SMALL, progress=None):
    (item,) = export(base, (), [name], out, options, threads=1, progress=progress or Silent())
    return item


def table(base):
    from safetensors.numpy import load_file

    return load_file(base / "model.safetensors")["model.embed_tokens.weight"].astype(np.float32)


@pytest.mark.parametrize("name", FORMATS)
def test_the_codes_are_those_of_any_matrix_and_the_graph_gathers_their_values(untied, tmp_path, name):
    small, usual = make(untied, tmp_path / "small", name), make(untied, tmp_path / "usual", name, ExportOptions())
    bits = 4 if name == "onnx-int4" else 8
    quantize = quantize_k_quant if name == "onnx-int4-mixed" else quantize_symmetric
    wanted = quantize(table(untied), bits)
    found = {key: value for key, value in arrays(small.path).items() if key.startswith("model.embed_tokens")}
    stored = [value.reshape(len(value), -1) for value in found.values()]
    for values in (wanted.codes, wanted.scales, *(() if wanted.zero_points is None else (wanted.zero_points,))):
        assert any(np.array_equal(values, one) for one in stored)
    assert identify_format(small.path) == name
    before, _ = Session(usual.path).run(sample_ids(6), head_dim=16)
    after, _ = Session(small.path).run(sample_ids(6), head_dim=16)
    assert not np.array_equal(before, after)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.9
    size = {item.path: sum(path.stat().st_size for path in item.path.iterdir()) for item in (small, usual)}
    assert size[small.path] < size[usual.path]


@pytest.mark.parametrize("name", FORMATS)
def test_with_the_rounded_table_in_the_checkpoint_both_graphs_are_equal(untied, tmp_path, name):
    """The oracle: a float32 table that holds the rounded values already gives the same logits."""
    from safetensors.numpy import load_file, save_file

    small = make(untied, tmp_path / "small", name)
    artifact = open_artifact(small.path)
    tensor = artifact.tensors["model.embed_tokens"]
    rounded = tensor.codec.weights(artifact.read(tensor.name, 0, tensor.rows), tensor.columns)
    assert (tensor.rows, tensor.columns) == rounded.shape == table(untied).shape
    assert 0 < np.abs(rounded - table(untied)).max() < 0.2 * np.abs(table(untied)).max()
    other = shutil.copytree(untied, tmp_path / "rounded")
    weights = load_file(other / "model.safetensors")
    weights["model.embed_tokens.weight"] = np.ascontiguousarray(rounded, np.float32)
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    same = make(other, tmp_path / "float", name, ExportOptions())
    ids = sample_ids(6)
    np.testing.assert_allclose(
        Session(small.path).run(ids, head_dim=16)[0], Session(same.path).run(ids, head_dim=16)[0], atol=1e-5
    )


def test_a_tied_table_is_shared_whatever_is_asked(tmp_path, tiny):
    folders = [
        make(tiny("qwen3"), tmp_path / str(n), "onnx-int4", options)
        for n, options in enumerate((SMALL, ExportOptions()))
    ]
    one, other = ({path.name: path.read_bytes() for path in item.path.iterdir()} for item in folders)
    assert one == other


def test_the_export_names_the_option_where_it_saves_much(untied, tmp_path):
    heard = Recording(None)
    make(untied, tmp_path / "usual", "onnx-int4", ExportOptions(), heard)
    assert any("--small-embedding" in warning for warning in heard.warnings)
    quiet = Recording(None)
    item = make(untied, tmp_path / "small", "onnx-int4", SMALL, quiet)
    assert not any("--small-embedding" in warning for warning in quiet.warnings)
    manifest = json.loads(item.path.with_name(item.path.name + ".edge.json").read_text())
    assert manifest["options"]["small_embedding"] is True


def test_it_is_refused_where_no_folder_is_written(untied, tmp_path):
    with pytest.raises(UsageError, match="--small-embedding"):
        make(untied, tmp_path, "gguf-q4_0")

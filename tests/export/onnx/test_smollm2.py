"""SmolLM2-135M with an adapter: the builder's arrays of the same merge, and the same text of both."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.artifact.merged_folder import write_merged_folder
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.base.gguf_checkpoint import open_gguf_checkpoint
from edgeproof.export.merge.merged import MergedModel
from edgeproof.export.pipeline import export
from edgeproof_tests.export.conftest import peft_merge
from edgeproof_tests.export.gguf.test_families import write_adapter
from edgeproof_tests.export.onnx.conftest import Session, arrays, take_rope_tables, torch_logits, torch_model
from edgeproof_tests.export.onnx.test_families import generate

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.blas]

HEAD_DIM = 64


@pytest.fixture(scope="module")
def release(smollm2_file, tmp_path_factory):
    """The base and our merge as Hugging Face folders in float32, and the adapter."""
    folder = tmp_path_factory.mktemp("smollm2")
    checkpoint = open_gguf_checkpoint(smollm2_file("F32"))
    (folder / "tokenizer").mkdir()
    for name, content in checkpoint.tokenizer_files.items():
        (folder / "tokenizer" / name).write_bytes(content)
    adapter = write_adapter({name: info.shape for name, info in checkpoint.tensors.items()}, folder / "adapter")
    base, merged = folder / "SmolLM2", folder / "merged" / "SmolLM2"
    for target, adapters in ((base, ()), (merged, (load_adapter(adapter),))):
        target.mkdir(parents=True)
        write_merged_folder(MergedModel(checkpoint, adapters), folder / "tokenizer", target, progress=Silent())
    return base, adapter, merged


def test_the_merge_is_pefts_bit_for_bit(release):
    """On every processor: the adapter's products are exact in float32."""
    base, adapter, merged = release
    ours, theirs = open_checkpoint(merged), peft_merge(base, [adapter])
    assert ours.tensors.keys() == theirs.keys() - {"lm_head.weight"}
    for name, info in ours.tensors.items():
        assert np.array_equal(ours.rows(name, 0, info.rows).reshape(info.shape), theirs[name]), name


@pytest.mark.parametrize("name", ["onnx-int4", "onnx-int4-mixed"])
def test_arrays_and_text_are_the_builders(name, release, built, tmp_path):
    """The builder is given the floats that our merge holds: whatever the BLAS, both round the same ones."""
    base, adapter, merged = release
    (item,) = export(base, [adapter], [name], tmp_path, threads=1, progress=Silent())
    folder = built(merged, name)
    ours, theirs = arrays(item.path), arrays(folder)
    assert ours.keys() == theirs.keys()
    caches = {"cos_cache", "sin_cache"}
    different = [array for array in theirs.keys() - caches if ours[array].tobytes() != theirs[array].tobytes()]
    assert different == []
    take_rope_tables(folder, ours)
    assert generate(item.path, 60) == generate(folder, 60)


def test_float_logits_are_torchs(release, tmp_path):
    base, adapter, merged = release
    (item,) = export(base, [adapter], ["onnx-fp32"], tmp_path, threads=1, progress=Silent())
    prompt, text = generate(item.path, 100)
    ids = np.array([[*prompt, *text]])
    expected = torch_logits(torch_model(merged), ids)
    ours, _ = Session(item.path).run(ids, head_dim=HEAD_DIM)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)

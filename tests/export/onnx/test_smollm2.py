"""SmolLM2-135M with an adapter: the builder's bytes on peft's merge, and the text onnxruntime-genai makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.export.gguf_checkpoint import open_gguf_checkpoint
from edgeproof.export.merge import MergedModel
from edgeproof.export.merged_folder import write_merged_folder
from edgeproof.export.pipeline import export
from edgeproof_tests.export.conftest import Quiet, peft_model, same_kernel
from edgeproof_tests.export.gguf.test_families import write_adapter
from edgeproof_tests.export.onnx.conftest import Session, arrays, torch_logits, torch_model
from edgeproof_tests.export.onnx.test_families import generate, last_logits
from edgeproof_tests.smollm2 import smollm2_file, smollm2_gguf  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.torch, pytest.mark.slow]

HEAD_DIM = 64


@pytest.fixture(scope="module")
def release(smollm2_file, tmp_path_factory):  # noqa: F811
    """The base and peft's merge as Hugging Face folders, and the adapter."""
    folder = tmp_path_factory.mktemp("smollm2")
    checkpoint = open_gguf_checkpoint(smollm2_file("F32"))
    (folder / "tokenizer").mkdir()
    for name, content in checkpoint.tokenizer_files.items():
        (folder / "tokenizer" / name).write_bytes(content)
    base, merged = folder / "SmolLM2", folder / "merged" / "SmolLM2"
    base.mkdir()
    write_merged_folder(MergedModel(checkpoint, ()), folder / "tokenizer", base, progress=Silent())
    adapter = write_adapter({name: info.shape for name, info in checkpoint.tensors.items()}, folder / "adapter")
    with Quiet():
        peft_model(base, [adapter]).merge_and_unload().save_pretrained(merged)
    for path in base.iterdir():
        if path.name != "model.safetensors":
            (merged / path.name).write_bytes(path.read_bytes())
    return base, adapter, merged


@pytest.mark.parametrize("name", ["onnx-int4", "onnx-int4-mixed"])
def test_arrays_and_text_are_the_builders(name, release, built, tmp_path):
    base, adapter, merged = release
    (item,) = export(base, [adapter], [name], tmp_path, threads=1, progress=Silent())
    folder = built(merged, name)
    ours, theirs = arrays(item.path), arrays(folder)
    assert ours.keys() == theirs.keys()
    caches = {"cos_cache", "sin_cache"}
    different = [array for array in theirs.keys() - caches if ours[array].tobytes() != theirs[array].tobytes()]
    if same_kernel():
        assert different == []
    else:  # a merged weight may be a last bit off, and fall on the other side of a rounding
        moved = sum(np.count_nonzero(ours[array] != theirs[array]) for array in different)
        assert moved < 1e-5 * sum(values.size for values in theirs.values())

    prompt, text = generate(item.path, 60)
    _, other = generate(folder, 60)
    at = next((at for at, pair in enumerate(zip(text, other, strict=False)) if pair[0] != pair[1]), None)
    if at is not None:  # a near-tie: the last bits of the rope tables move logits further than the two lie apart
        one, two = (last_logits(path, prompt, text[:at], HEAD_DIM) for path in (item.path, folder))
        assert abs(one[text[at]] - one[other[at]]) <= 2 * np.abs(one - two).max()


def test_float_logits_are_torchs(release, tmp_path):
    base, adapter, merged = release
    (item,) = export(base, [adapter], ["onnx-fp32"], tmp_path, threads=1, progress=Silent())
    prompt, text = generate(item.path, 100)
    ids = np.array([[*prompt, *text]])
    expected = torch_logits(torch_model(merged), ids)
    ours, _ = Session(item.path).run(ids, head_dim=HEAD_DIM)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)

"""Folders that onnxruntime-genai's own builder wrote are read and recognised like ours."""

from __future__ import annotations

import shutil

import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.artifact.merged_folder import write_merged_folder
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.merge.merged import MergedModel
from edgeproof.export.pipeline import ExportOptions, export
from edgeproof.export.survival.measure import survival_map
from edgeproof.export.survival.residue import Outcome

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("name", ["onnx-int4", "onnx-int4-mixed", "onnx-int8", "onnx-fp32"])
def test_what_the_builder_makes_of_base_and_merge_is_recognised(name, tiny, built, make_adapter, tmp_path):
    base = tiny("qwen3")
    adapter = make_adapter(base)
    merged = tmp_path / "merged"
    merged.mkdir()
    write_merged_folder(MergedModel(open_checkpoint(base), [load_adapter(adapter)]), base, merged, progress=Silent())
    for start, outcome in ((base, Outcome.BASE), (merged, Outcome.MERGED)):
        found = survival_map(base, [adapter], built(start, name), progress=Silent())
        assert found.residue.outcome is outcome
        assert found.residue.exact
        assert found.format == name


def test_shared_scales_are_told_from_the_builders(tiny, make_adapter, tmp_path):
    base = tiny("qwen3")
    adapter = make_adapter(base)
    (item,) = export(
        base, [adapter], ["onnx-int4"], tmp_path, ExportOptions(shared_scales=True), threads=1, progress=Silent()
    )
    found = survival_map(base, [adapter], item.path, progress=Silent())
    assert {tensor.type for tensor in found.tensors} == {"int4 q4_0"}
    assert found.residue.outcome is Outcome.MERGED
    assert found.residue.exact


def test_weights_outside_of_the_folder_are_not_read(tiny, make_adapter, exported, tmp_path):
    import onnx
    from edgeproof.contracts.errors import ArtifactError

    base = tiny("qwen3")
    copy = tmp_path / "folder"
    shutil.copytree(exported(base, "onnx-int4"), copy)
    model = onnx.load(copy / "model.onnx", load_external_data=False)
    for item in model.graph.initializer:
        for entry in item.external_data:
            if entry.key == "location":
                entry.value = "../secret.data"
    onnx.save(model, copy / "model.onnx")
    with pytest.raises(ArtifactError, match="lies outside the folder"):
        survival_map(base, [make_adapter(base)], copy, progress=Silent())

"""What a folder says of itself is what the backend makes of it."""

from __future__ import annotations

import shutil

import pytest
from edgeproof.export.artifact.kind import rounds_activations
from edgeproof.export.onnx.identify import accuracy_levels
from edgeproof.runtime.onnxruntime.graph import read_graph
from edgeproof_tests.runtime import tiny_onnx


@pytest.mark.parametrize(("options", "rounds"), [({}, False), ({"bits": 4}, None)])
def test_accuracy_levels_are_those_that_the_backend_reads(tmp_path, options, rounds):
    folder = tiny_onnx.write(tmp_path / "model", **options)
    levels = read_graph(folder).accuracy_levels
    assert accuracy_levels(folder) == set(levels)
    assert rounds_activations(folder) == (bool(set(levels) - {0}) if rounds is None else rounds)


def test_a_graph_of_level_4_rounds(tmp_path):
    folder = tiny_onnx.write(tmp_path / "model", bits=4)
    source = read_graph(folder, accuracy_level=4).source
    twin = shutil.copytree(folder, tmp_path / "twin")
    (twin / "model.onnx").write_bytes(source)
    assert rounds_activations(twin)
    assert not rounds_activations(tmp_path / "model.gguf")

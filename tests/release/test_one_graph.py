"""Every reader of an ONNX folder reads the graph that genai_config.json names, and no decoy beside it."""

from __future__ import annotations

import shutil

import pytest
from edgeproof.contracts.errors import ArtifactError
from edgeproof.eval.verification.verify import _artifact
from edgeproof.export.artifact.kind import identify_format, rounds_activations
from edgeproof.export.artifact.manifest import digest_artifact
from edgeproof.export.artifact.summary import describe_artifact
from edgeproof.export.survival.artifact import open_artifact
from edgeproof.release.probe import _artifact as asked
from edgeproof.release.steps.describe import describe
from edgeproof.release.steps.files.digests import choose_format
from edgeproof.release.verify import _digests
from edgeproof.runtime.onnxruntime.graph import embedding_type, read_graph
from edgeproof_tests.runtime import tiny_onnx
from edgeproof_tests.runtime.tiny_onnx import change_config

pytest.importorskip("onnxruntime")

READERS = {
    "format": identify_format,
    "rounding": rounds_activations,
    "embedding": embedding_type,
    "gate": lambda folder: choose_format(folder, None),
    "engine": lambda folder: read_graph(folder).accuracy_levels,
    "inspect": lambda folder: describe(folder)["types"],
    "summary": lambda folder: describe_artifact(folder)["effective_bits"],
    "survival": lambda folder: sorted(open_artifact(folder).tensors),
}


@pytest.fixture
def real(tmp_path):
    """Four-bit products that round activations, in a graph of another name."""
    folder = tiny_onnx.write(tmp_path / "real", bits=4)
    (folder / "model.onnx").rename(folder / "real.onnx")
    return change_config(folder, lambda config: config["model"]["decoder"].update(filename="real.onnx"))


@pytest.fixture
def decoyed(real, tmp_path):
    """The same with a harmless float graph beside it, under the usual name."""
    folder = shutil.copytree(real, tmp_path / "decoyed")
    shutil.copyfile(tiny_onnx.write(tmp_path / "float") / "model.onnx", folder / "model.onnx")
    return folder


@pytest.mark.parametrize("reader", READERS)
def test_a_graph_of_another_name_is_read_as_one_of_the_usual_name(real, tmp_path, reader):
    usual = tiny_onnx.write(tmp_path / "usual", bits=4)
    assert READERS[reader](real) == READERS[reader](usual)


@pytest.mark.parametrize("reader", READERS)
def test_a_decoy_of_the_usual_name_is_refused(decoyed, reader):
    with pytest.raises(ArtifactError, match=r"1 graphs beside real\.onnx: model\.onnx"):
        READERS[reader](decoyed)


def test_the_facts_that_verify_checks_are_those_of_the_graph_that_is_named(real, tmp_path):
    found, usual = _digests(real, None), _digests(tiny_onnx.write(tmp_path / "usual", bits=4), None)
    assert found.rounds
    for name in ("format", "rounds", "embedding", "prompt_digest", "unreadable"):
        assert getattr(found, name) == getattr(usual, name)


def test_verify_refuses_a_report_on_a_folder_that_no_gate_opens(decoyed):
    """A report may be made up for it: equal digests, the format of the decoy, no computation without rounding."""
    whole, files = digest_artifact(decoyed)
    recorded = {
        "sha256": whole.sha256,
        "bytes": whole.bytes,
        "files": [{"name": file.file, "sha256": file.sha256} for file in files],
        "manifest_sha256": None,
        "format": "onnx-fp32",
    }
    report = {"artifact": recorded, "backend": {"accuracy_level": "none"}, "precise": None, "survival": None}
    (told,) = _artifact(report, _digests(decoyed, None))
    assert told.startswith("artifact: no gate opens it: ")
    assert "1 graphs beside real.onnx: model.onnx" in told


def test_probe_asks_the_folder_and_not_a_checkpoint_beside_its_graph(real):
    (real / "config.json").write_text("{}")
    assert asked(real, None, None, None, None) == real

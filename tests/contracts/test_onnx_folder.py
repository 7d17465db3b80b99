"""The graph of an ONNX folder is the one file that genai_config.json names."""

from __future__ import annotations

import json

import pytest
from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.onnx_folder import graph_file, is_onnx_folder, read_genai_config


def write(folder, config, *graphs):
    folder.mkdir(exist_ok=True)
    (folder / "genai_config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    for name in graphs:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"graph")
    return folder


def names(graph):
    return {"model": {"decoder": {"filename": graph}}}


@pytest.mark.parametrize("name", ["model.onnx", "decoder.onnx", "weights.bin"])
def test_it_is_the_file_that_is_named(tmp_path, name):
    assert graph_file(write(tmp_path, names(name), name)) == tmp_path / name


@pytest.mark.parametrize("config", [{}, {"model": 1}, {"model": {"decoder": {}}}, names(None), names(""), names(7)])
def test_none_is_named(tmp_path, config):
    with pytest.raises(ArtifactError, match=r"model\.decoder\.filename is .*, not the name of a graph") as caught:
        graph_file(write(tmp_path, config, "model.onnx"))
    assert caught.value.next_step


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "sub/../../model.onnx", "C:\\model.onnx"])
def test_it_is_outside(tmp_path, name):
    (tmp_path / "model.onnx").write_bytes(b"graph")
    with pytest.raises(ArtifactError, match="outside"):
        graph_file(write(tmp_path / "folder", names(name)))


def test_it_is_a_link_that_leads_out(tmp_path):
    (tmp_path / "real.onnx").write_bytes(b"graph")
    folder = write(tmp_path / "folder", names("model.onnx"))
    (folder / "model.onnx").symlink_to("../real.onnx")
    with pytest.raises(ArtifactError, match="leads out of the folder"):
        graph_file(folder)


def test_it_is_in_a_folder_below_whose_files_no_digest_covers(tmp_path):
    with pytest.raises(ArtifactError, match="a graph lies in the folder itself"):
        graph_file(write(tmp_path, names("sub/real.onnx"), "sub/real.onnx"))


@pytest.mark.parametrize(
    ("named", "decoy"), [("real.onnx", "model.onnx"), ("weights.bin", "model.onnx"), ("model.onnx", "MODEL.ort")]
)
def test_a_second_graph_lies_beside_it(tmp_path, named, decoy):
    with pytest.raises(ArtifactError, match=f"1 graphs beside {named}: {decoy}"):
        graph_file(write(tmp_path, names(named), named, decoy))


def test_a_key_given_twice_is_refused_since_onnxruntime_genai_reads_both(tmp_path):
    """Its parser merges two tables of one name; Python's keeps the last, in which nothing odd is left."""
    harmless = json.dumps(names("model.onnx"))[1:]
    folder = write(tmp_path, '{"model": {"decoder": {"pipeline": [{"part": {"filename": "x"}}]}}, ' + harmless)
    assert json.loads((folder / "genai_config.json").read_text()) == names("model.onnx")
    with pytest.raises(ArtifactError, match="it gives 'model' twice"):
        read_genai_config(folder)


def test_a_folder_is_one_by_its_config_or_by_a_graph(tmp_path):
    assert is_onnx_folder(write(tmp_path / "one", {}))
    assert not is_onnx_folder(tmp_path / "one" / "genai_config.json")
    assert not is_onnx_folder(tmp_path / "none")
    (tmp_path / "two").mkdir()
    assert not is_onnx_folder(tmp_path / "two")
    (tmp_path / "two" / "decoder.onnx").touch()
    assert is_onnx_folder(tmp_path / "two")

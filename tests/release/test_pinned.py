"""A pinned path leads to the same file whatever becomes of the names above it, for this process and its children."""

from __future__ import annotations

import subprocess
import sys

import pytest
from edgeproof.contracts.errors import ArtifactError
from edgeproof.release.steps.pinned import pinned

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def read(path):
    """What a child process reads there."""
    code = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).read_text(), end='')"
    return subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout


def test_a_file_and_a_folder_stay_what_they_were(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name / "onnx").mkdir(parents=True)
        (tmp_path / name / "a.gguf").write_text(f"{name} file")
        (tmp_path / name / "onnx" / "model.onnx").write_text(f"{name} graph")
    (tmp_path / "here").symlink_to("old")
    paths = (tmp_path / "here" / "a.gguf", tmp_path / "here" / "onnx")
    with pinned(paths) as (file, folder):
        (tmp_path / "here").unlink()
        (tmp_path / "here").symlink_to("new")
        assert paths[0].read_text() == "new file"
        assert read(file) == "old file"
        assert read(folder / "model.onnx") == "old graph"
        assert [path.name for path in folder.iterdir()] == ["model.onnx"]
        assert file.name == "a.gguf"


def test_errors_name_the_path_that_was_given(tmp_path):
    (tmp_path / "a.gguf").write_text("x")

    def fails():
        with pinned([tmp_path / "a.gguf"]) as (held,):
            assert held != tmp_path / "a.gguf"
            raise ArtifactError(f"{held} is bad", next_step=f"mend {held}")

    with pytest.raises(ArtifactError) as caught:
        fails()
    assert caught.value.message == f"{tmp_path / 'a.gguf'} is bad"
    assert caught.value.next_step == f"mend {tmp_path / 'a.gguf'}"


def test_no_folder_stays_open(tmp_path):
    from pathlib import Path

    (tmp_path / "a.gguf").write_text("x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pinned([tmp_path / "a.gguf", tmp_path, tmp_path / "missing"]) as held:
        assert held[2] == tmp_path / "missing"
    assert len(list(Path("/proc/self/fd").iterdir())) == before

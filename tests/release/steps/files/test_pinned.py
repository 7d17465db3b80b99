"""A pinned path leads to the same file whatever becomes of the names above it, for this process and its children."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from edgeproof.contracts.errors import ArtifactError
from edgeproof.export.artifact.manifest import digest_artifact
from edgeproof.release.steps.files.pinned import pinned
from edgeproof_tests.contracts.test_gguf_split import write

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
    (tmp_path / "a.gguf").write_text("x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pinned([tmp_path / "a.gguf", tmp_path, tmp_path / "missing"]) as held:
        assert held[2] == tmp_path / "missing"
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Split GGUFs whose parts are links, as in a download cache


def linked_parts(tmp_path):
    """Parts under `here`, each a link into `blobs`, and other parts in `others`."""
    for folder, seed in (("blobs", 0), ("others", 1)):
        write(tmp_path / folder, seed=seed)
    (tmp_path / "here").mkdir()
    names = [part.name for part in sorted((tmp_path / "blobs").glob("model-*.gguf"))]
    for name in names:
        (tmp_path / "here" / name).symlink_to(tmp_path / "blobs" / name)
    return names


def swap(tmp_path, back):
    (tmp_path / "blobs").rename(tmp_path / back)
    (tmp_path / ("others" if back == "kept" else "kept")).rename(tmp_path / "blobs")


def test_parts_that_are_links_stay_what_they_were(tmp_path):
    names = linked_parts(tmp_path)
    before = [(tmp_path / "here" / name).read_bytes() for name in names]
    temporary = set(Path(tempfile.gettempdir()).glob(".edgeproof-*"))
    with pinned([tmp_path / "here" / names[0]]) as (held,):
        digest = digest_artifact(held)
        swap(tmp_path, "kept")
        assert (tmp_path / "here" / names[1]).read_bytes() != before[1]
        assert digest_artifact(held) == digest
        assert [held.with_name(name).read_bytes() for name in names] == before
        assert [file.file for file in digest[1]] == names
        swap(tmp_path, "others")
    assert digest_artifact(tmp_path / "here" / names[0]) == digest
    assert set(Path(tempfile.gettempdir()).glob(".edgeproof-*")) <= temporary


def test_a_link_to_a_part_that_is_exchanged_in_the_private_folder_is_refused(tmp_path):
    first = tmp_path / "here" / linked_parts(tmp_path)[0]

    def exchanged():
        with pinned([first]) as (held,):
            held.unlink()
            held.symlink_to(tmp_path / "others" / first.name)

    with pytest.raises(ArtifactError, match=f"the parts of {first.name}, changed"):
        exchanged()


def test_errors_name_the_part_that_was_given(tmp_path):
    names = linked_parts(tmp_path)

    def fails():
        with pinned([tmp_path / "here" / names[0]]) as (held,):
            raise ArtifactError(f"{held.with_name(names[1])} is bad", next_step="mend it")

    with pytest.raises(ArtifactError) as caught:
        fails()
    assert caught.value.message == f"{tmp_path / 'here' / names[1]} is bad"

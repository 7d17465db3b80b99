"""A split GGUF is all of its parts: none missing, none of another split."""

from __future__ import annotations

import shutil

import gguf
import numpy as np
import pytest
from edgeproof.contracts.errors import ArtifactError, CheckpointError
from edgeproof.contracts.gguf_split import is_gguf, read_tensors, refuse_split, split_parts
from edgeproof.export.artifact.manifest import digest_artifact


def write(folder, name="model", *, tensors=6, seed=0):
    """Write a GGUF of three parts and return them."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(folder / f"{name}.gguf", "llama", split_max_tensors=2)
    for number in range(tensors):
        writer.add_tensor(f"t{number}.weight", random.standard_normal((4, 32)).astype(np.float32))
    writer.write_header_to_file(folder / f"{name}.gguf")
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob(f"{name}-*.gguf"))


@pytest.fixture
def parts(tmp_path):
    return write(tmp_path / "model")


def test_all_parts_are_found_in_order_and_their_tensors_read(parts):
    assert len(parts) == 3
    assert split_parts(parts[0], ArtifactError) == tuple(parts)
    assert [tensor.name for tensor in read_tensors(parts[0], ArtifactError)] == [f"t{n}.weight" for n in range(6)]


def test_a_file_that_was_not_split_is_its_only_part(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_tensor("t.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert split_parts(tmp_path / "model.gguf", ArtifactError) == (tmp_path / "model.gguf",)
    refuse_split(tmp_path / "model.gguf", ArtifactError, "this")
    assert is_gguf(tmp_path / "model.gguf")
    assert not is_gguf(tmp_path)


def test_the_digest_is_over_every_part(parts):
    whole, files = digest_artifact(parts[0])
    assert [file.file for file in files] == [part.name for part in parts]
    assert whole.bytes == sum(part.stat().st_size for part in parts)
    for part in parts:
        content = bytearray(part.read_bytes())
        content[-1] ^= 1
        part.write_bytes(content)
        assert digest_artifact(parts[0])[0].sha256 != whole.sha256
        content[-1] ^= 1
        part.write_bytes(content)
    assert digest_artifact(parts[0])[0].sha256 == whole.sha256


def test_a_missing_part_is_named(parts):
    parts[1].unlink()
    with pytest.raises(ArtifactError, match=r"missing: model-00002-of-00003\.gguf"):
        split_parts(parts[0], ArtifactError)


@pytest.mark.parametrize("number", [1, 2])
def test_another_part_than_the_first_is_refused(parts, number):
    with pytest.raises(ArtifactError, match="not a first part by its name"):
        split_parts(parts[number], ArtifactError)


def test_a_part_in_the_place_of_another_is_refused(parts):
    shutil.copyfile(parts[2], parts[1])
    with pytest.raises(ArtifactError, match="says that it is part 2"):
        split_parts(parts[0], ArtifactError)


def test_a_part_of_another_split_is_refused_where_it_does_not_fit(parts, tmp_path):
    other = write(tmp_path / "other", tensors=5)
    shutil.copyfile(other[2], parts[2])
    with pytest.raises(ArtifactError, match="hold 5 tensors"):
        split_parts(parts[0], ArtifactError)


def test_a_first_part_that_is_called_otherwise_is_refused(parts):
    moved = parts[0].rename(parts[0].with_name("model.gguf"))
    with pytest.raises(ArtifactError, match="not a first part by its name"):
        split_parts(moved, ArtifactError)


def test_what_takes_a_whole_file_says_how_to_join_the_parts(parts):
    with pytest.raises(CheckpointError, match="one of 3 parts") as caught:
        refuse_split(parts[0], CheckpointError, "this")
    assert "llama-gguf-split --merge" in caught.value.next_step

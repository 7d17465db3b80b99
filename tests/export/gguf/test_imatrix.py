"""Importance matrices are read as llama-quantize reads them, in both formats."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.errors import InputError
from edgeproof.contracts.tensors import MetadataEntry
from edgeproof.export.formats import find_format
from edgeproof.export.gguf.imatrix import read_imatrix
from gguf import GGUFWriter

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.tensors import Float32Array


def write_legacy(path: Path, entries: dict[str, tuple[int, Float32Array]], trailer: bytes = b"") -> Path:
    data = struct.pack("<i", len(entries))
    for name, (calls, values) in entries.items():
        data += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, len(values))
        data += values.astype("<f4").tobytes()
    path.write_bytes(data + trailer)
    return path


def write_gguf(path: Path, tensors: dict[str, Float32Array], *, datasets=("a.txt", "b.txt"), keys=True) -> Path:
    writer = GGUFWriter(path, "")
    writer.kv_data = [{}]
    writer.add_type("imatrix")
    if keys:
        writer.add_array("imatrix.datasets", list(datasets))
        writer.add_uint32("imatrix.chunk_count", 11)
        writer.add_uint32("imatrix.chunk_size", 512)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def sums():
    random = np.random.default_rng(3)
    return random.gamma(1.0, 100.0, 256).astype(np.float32)


def test_a_legacy_file_is_divided_by_its_calls(tmp_path, sums):
    entries = {"b": (7, sums), "a": (0, sums * 2)}
    trailer = struct.pack("<ii", 5, 8) + b"wiki.txt"
    imatrix = read_imatrix(write_legacy(tmp_path / "i.dat", entries, trailer))
    assert list(imatrix.weights) == ["a", "b"]
    assert np.array_equal(imatrix.weights["b"], sums / np.float32(7))
    assert np.array_equal(imatrix.weights["a"], sums * 2)
    assert (imatrix.datasets, imatrix.chunks) == (("wiki.txt",), 5)


def test_an_old_legacy_file_tells_nothing_of_its_text(tmp_path, sums):
    imatrix = read_imatrix(write_legacy(tmp_path / "i.dat", {"a": (1, sums)}))
    assert (imatrix.datasets, imatrix.chunks) == ((), 0)
    assert [entry.key for entry in imatrix.metadata()] == ["quantize.imatrix.file", "quantize.imatrix.entries_count"]


def test_a_gguf_file_is_divided_by_the_counts_of_its_experts(tmp_path, sums):
    tensors = {
        "a.in_sum2": sums.reshape(1, -1),
        "a.counts": np.array([[12]], np.float32),
        "e.in_sum2": sums.reshape(4, 64),
        "e.counts": np.array([[2], [0], [2.5], [1e6]], np.float32),
    }
    imatrix = read_imatrix(write_gguf(tmp_path / "i.gguf", tensors), given_as="calibration.gguf")
    assert np.array_equal(imatrix.weights["a"], sums / np.float32(12))
    experts = imatrix.weights["e"].reshape(4, 64)
    assert np.array_equal(experts[0], sums[:64] / np.float32(2))
    assert np.array_equal(experts[1], np.ones(64))
    assert np.array_equal(experts[2], sums[128:192] / np.float32(3))
    assert imatrix.metadata() == (
        MetadataEntry("quantize.imatrix.file", b"calibration.gguf", "STRING"),
        MetadataEntry("quantize.imatrix.dataset", b"a.txt", "STRING"),
        MetadataEntry("quantize.imatrix.entries_count", 2, "UINT32"),
        MetadataEntry("quantize.imatrix.chunks_count", 11, "UINT32"),
    )


def test_a_long_name_is_cut_as_llama_cpp_cuts_it(tmp_path, sums):
    path = write_legacy(tmp_path / "i.dat", {"a": (1, sums)})
    assert read_imatrix(path, given_as="ü" * 100).metadata()[0].value == ("ü" * 100).encode()[:127]


def damaged(tmp_path, sums):
    """Files that are no importance matrix, with what is said of each."""
    good = write_legacy(tmp_path / "good.dat", {"a": (1, sums), "b": (1, sums)}).read_bytes()
    plain = {"a.in_sum2": sums.reshape(1, -1), "a.counts": np.ones((1, 1), np.float32)}
    whole = write_gguf(tmp_path / "good.gguf", plain).read_bytes()
    nan = np.array([1, np.nan, np.inf], np.float32)
    yield b"", "ends at byte 0"
    yield struct.pack("<i", 0), "announces 0 entries"
    yield good[:-1], "should take 1,024 bytes"
    yield good[:1100], "should take 1,024 bytes"
    yield b"not an importance matrix", "should take"
    yield struct.pack("<iii", 1, 1, 7), "before the calls of"
    yield write_legacy(tmp_path / "x", {"a": (1, nan)}).read_bytes(), "a has 2 values that are not finite"
    yield whole[:100], "cannot be read"
    yield whole[:-512], "cannot be read"
    yield write_gguf(tmp_path / "x", {"a.weight": sums}).read_bytes(), "no tensor in it is named"
    yield write_gguf(tmp_path / "x", plain, keys=False).read_bytes(), "imatrix.datasets is missing"
    yield write_gguf(tmp_path / "x", {"a.in_sum2": sums}).read_bytes(), "a has no counts"
    yield (
        write_gguf(tmp_path / "x", {"a.in_sum2": sums, "a.counts": np.ones(3, np.float32)}).read_bytes(),
        "256 sums for 3",
    )
    yield write_gguf(tmp_path / "x", {"a.in_sum2": sums.astype(np.float16)}).read_bytes(), "F16, not F32"


def test_each_damaged_file_has_its_own_message(tmp_path, sums):
    for number, (data, message) in enumerate(damaged(tmp_path, sums)):
        path = tmp_path / f"bad{number}"
        path.write_bytes(data)
        with pytest.raises(InputError, match=f"importance matrix .* is damaged: .*{message}"):
            read_imatrix(path)
    with pytest.raises(InputError, match="No such file"):
        read_imatrix(tmp_path / "missing.dat")


@pytest.mark.official
@pytest.mark.parametrize("kind", ["legacy", "gguf"])
@pytest.mark.parametrize("name", ["gguf-q4", "gguf-q4_0", "gguf-iq4_nl"])
def test_a_whole_file_equals_llama_quantizes_with_an_imatrix_file(
    kind, name, tmp_path, tiny_model, export, official, monkeypatch
):
    tiny = tiny_model(layers=8, ffn=32)
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(9)
    sums = {
        tensor.name: random.gamma(1.0, 50.0, tensor.shape[-1]).astype(np.float32)
        for tensor in tiny.description.tensors
        if len(tensor.shape) == 2 and "embd" not in tensor.name and "blk.2.ffn_down" not in tensor.name
    }
    path = tmp_path / "imatrix.dat"
    if kind == "legacy":
        trailer = struct.pack("<ii", 5, 8) + b"wiki.txt"
        write_legacy(path, {tensor: (13, values) for tensor, values in sums.items()}, trailer)
    else:
        tensors = {}
        for tensor, values in sums.items():
            tensors[f"{tensor}.in_sum2"] = values.reshape(1, -1)
            tensors[f"{tensor}.counts"] = np.array([[1000 * len(tensor)]], np.float32)
        write_gguf(path, tensors)
    export(tiny, "gguf-f32", tmp_path / "f32.gguf")
    overrides = ["attn_q=q5_k", r"blk\.1\.ffn=q8_0"]
    export(tiny, name, tmp_path / "ours.gguf", imatrix=read_imatrix(path, given_as="imatrix.dat"), overrides=overrides)
    options = [word for text in overrides for word in ("--tensor-type", text)]
    scheme = find_format(name).scheme
    official.run("llama-quantize", "--imatrix", "imatrix.dat", *options, "f32.gguf", "theirs.gguf", scheme, 2)
    assert (tmp_path / "ours.gguf").read_bytes() == (tmp_path / "theirs.gguf").read_bytes()

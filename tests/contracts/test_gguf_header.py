"""The head of a GGUF is read whole or not at all, and what is wrong is told as the caller's kind of error."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.errors import ArtifactError, CheckpointError, InputError
from edgeproof.contracts.gguf_header import read_header, read_metadata
from gguf import GGUFReader, GGUFWriter

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.tensors import MetadataEntry


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


@pytest.fixture
def gguf(tmp_path) -> Path:
    """A value of every type, and two tensors, by gguf's own writer."""
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    for bits in (8, 16, 32, 64):
        getattr(writer, f"add_uint{bits}")(f"a.u{bits}", 2**bits - 1)
        getattr(writer, f"add_int{bits}")(f"a.i{bits}", -(2 ** (bits - 1)))
    writer.add_float32("a.f32", 0.1)
    writer.add_float64("a.f64", 0.1)
    writer.add_bool("a.flag", True)  # noqa: FBT003 (gguf's own signature)
    writer.add_string("a.text", "naïve ▁")
    writer.add_array("a.texts", ["a", "", "日本"])
    writer.add_array("a.numbers", [1, -2, 3])
    writer.add_array("a.reals", [0.5, 0.25])
    writer.add_tensor("one", np.ones((3, 4), np.float32))
    writer.add_tensor("two", np.ones(5, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "model.gguf"


def values(entries: tuple[MetadataEntry, ...]) -> dict[str, object]:
    return {entry.key: entry.value for entry in entries}


def test_every_value_and_tensor_is_as_ggufs_reader_has_it(gguf):
    header, reader = read_header(gguf, InputError), GGUFReader(gguf)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert values(header.metadata) == fields
    assert header.metadata == read_metadata(gguf, InputError)
    for entry in header.metadata:
        kinds = [kind.name for kind in reader.fields[entry.key].types]
        assert [entry.kind, *([entry.item_kind] if entry.item_kind else [])] == kinds
    ours = [(t.name, list(reversed(t.shape)), t.kind, t.offset, t.bytes) for t in header.tensors]
    assert ours == [(t.name, t.shape.tolist(), t.tensor_type, t.data_offset, t.n_bytes) for t in reader.tensors]


@pytest.mark.parametrize("kind", [ArtifactError, CheckpointError])
def test_what_is_wrong_is_the_callers_error(kind, gguf, tmp_path):
    (tmp_path / "words.gguf").write_text("no model at all")
    (tmp_path / "short.gguf").write_bytes(gguf.read_bytes()[:200])
    for name, told in (
        ("missing.gguf", "does not exist"),
        ("words.gguf", "not a GGUF file: it begins with b'no m'"),
        ("short.gguf", r"not a complete GGUF file: .* \(it has 200 bytes\)"),
    ):
        for read in (read_header, read_metadata):
            with pytest.raises(kind, match=told) as caught:
                read(tmp_path / name, kind)
            assert caught.type is kind
            assert caught.value.next_step


def test_weights_that_are_cut_off_do_not_hide_the_metadata(gguf, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(gguf.read_bytes()[:-40])
    assert read_metadata(cut, InputError) == read_metadata(gguf, InputError)
    with pytest.raises(InputError, match="two should lie at bytes"):
        read_header(cut, InputError)


def test_bytes_that_are_no_text_come_back_from_the_metadata_and_are_no_whole_header(tmp_path):
    entry = text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"\xff\xc3") + text(b"b")
    (tmp_path / "odd.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entry)
    ((_, tokens, *_),) = read_metadata(tmp_path / "odd.gguf", InputError)
    assert [token.encode("utf-8", "surrogateescape") for token in tokens] == [b"\xff\xc3", b"b"]
    with pytest.raises(InputError, match="can't decode"):
        read_header(tmp_path / "odd.gguf", InputError)

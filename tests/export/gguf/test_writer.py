"""A whole GGUF file equals llama.cpp's own, byte for byte, and nothing else is ever left behind."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.errors import CheckpointError, InputError, OutputError, UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.contracts.tensors import MetadataEntry, ModelDescription, OutputTensor, RowChunk
from edgeproof.export import stream
from edgeproof.export.formats import FORMATS, find_format
from edgeproof.export.gguf.imatrix import Imatrix
from edgeproof.export.gguf.writer import GgufWriter
from edgeproof.export.stream import run_stream
from gguf import GGUFReader

if TYPE_CHECKING:
    from pathlib import Path

QUANTIZED = [name for name, form in FORMATS.items() if form.kind == "gguf" and form.scheme not in {"F16", "F32"}]

# k-quants as they are; rows of 288 and 576 (SmolLM2) that fall back; rows of 72 that no block of 32 fits; many heads a
# key-value head; more layers, so that the layers with more bits differ from the others; a mixture of experts.
SHAPES = {
    "256": {"layers": 2},
    "256 untied": {"tied": False, "layers": 1, "ffn": 256},
    "288": {"hidden": 288, "ffn": 96, "heads": 9, "heads_kv": 3, "layers": 2},
    "576": {"hidden": 576, "ffn": 192, "heads": 9, "heads_kv": 3, "layers": 1},
    "576 untied": {"hidden": 576, "ffn": 192, "heads": 9, "heads_kv": 3, "tied": False, "layers": 1},
    "80": {"hidden": 80, "ffn": 144, "heads": 1, "heads_kv": 1, "layers": 1},
    "grouped": {"heads": 8, "heads_kv": 1, "layers": 9, "ffn": 32},
    "experts 4": {"experts": 4, "layers": 1, "ffn": 64},
    "experts 8": {"experts": 8, "layers": 1, "tied": False, "ffn": 32},
    "qwen2": {"architecture": "qwen2", "layers": 1, "ffn": 256},
}


def equal_files(ours: Path, theirs: Path) -> None:
    if ours.read_bytes() == theirs.read_bytes():
        return
    one, other = GGUFReader(ours), GGUFReader(theirs)
    assert list(one.fields) == list(other.fields)
    assert [(t.name, t.tensor_type.name, list(t.shape)) for t in one.tensors] == [
        (t.name, t.tensor_type.name, list(t.shape)) for t in other.tensors
    ]
    for mine, its in zip(one.tensors, other.tensors, strict=True):
        assert mine.data.tobytes() == its.data.tobytes(), mine.name
    pytest.fail("the tensors are equal, the bytes between them are not")


@pytest.fixture(scope="module")
def float_file(tmp_path_factory, tiny_model, export):
    """Our own gguf-f32 of each shape, written once."""
    made = {}

    def make(shape):
        if shape not in made:
            tiny = tiny_model(**SHAPES[shape])
            path = tmp_path_factory.mktemp("f32") / "f32.gguf"
            export(tiny, "gguf-f32", path)
            made[shape] = tiny, path
        return made[shape]

    return make


def random_imatrix(tiny, *, without=(), seed=1) -> Imatrix:
    random = np.random.default_rng(seed)
    weights = {
        tensor.name: random.gamma(1.0, 1.0, int(np.prod(tensor.shape[:-2])) * tensor.shape[-1]).astype(np.float32)
        for tensor in tiny.description.tensors
        if len(tensor.shape) >= 2 and tensor.name != "token_embd.weight" and not any(w in tensor.name for w in without)
    }
    return Imatrix("some/imatrix.gguf", weights, ("text.txt",), 7)


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_equals_llama_model_quantize(shape, name, tmp_path, float_file, export, official_quantize):
    tiny, f32 = float_file(shape)
    export(tiny, name, tmp_path / "ours.gguf")
    official_quantize(f32, tmp_path / "theirs.gguf", FORMATS[name].scheme)
    equal_files(tmp_path / "ours.gguf", tmp_path / "theirs.gguf")


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("shape", ["256", "576 untied", "grouped", "experts 4"])
def test_a_file_equals_llama_model_quantize_with_an_imatrix(
    shape, name, tmp_path, float_file, export, official_quantize
):
    tiny, f32 = float_file(shape)
    imatrix = random_imatrix(tiny, without=["blk.1.attn_q"])
    export(tiny, name, tmp_path / "ours.gguf", imatrix=imatrix)
    official_quantize(f32, tmp_path / "theirs.gguf", FORMATS[name].scheme, imatrix=imatrix)
    equal_files(tmp_path / "ours.gguf", tmp_path / "theirs.gguf")


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("gguf-q4", ["attn_v=q8_0"]),
        ("gguf-q4", [r"blk\.[02]\.ffn_down=Q4_K", "ffn_down=q5_k", "Token_Embd=q4_0"]),
        ("gguf-q4_k_s", ["attn_(k|q)=f16", "attn=bf16", "ffn_up=f32", r"\.1\..*_gate=iq4_xs", "output=q2_k"]),
        ("gguf-q4_0", ["ffn_down=q3_k", "attn_q=tq1_0", "attn_k=tq2_0", "ffn_up=q5_1"]),
        ("gguf-q8_0", ["no_such_tensor=q4_0", "ffn=q6_k"]),
    ],
)
@pytest.mark.parametrize("shape", ["256 untied", "288", "grouped"])
def test_a_file_equals_llama_model_quantize_with_overrides(
    shape, name, overrides, tmp_path, float_file, export, official_quantize
):
    tiny, f32 = float_file(shape)
    export(tiny, name, tmp_path / "ours.gguf", overrides=overrides)
    official_quantize(f32, tmp_path / "theirs.gguf", FORMATS[name].scheme, overrides=overrides)
    equal_files(tmp_path / "ours.gguf", tmp_path / "theirs.gguf")


def test_low_bit_overrides_with_an_imatrix_equal_llama_model_quantize(tmp_path, float_file, export, official_quantize):
    tiny, f32 = float_file("256 untied")
    imatrix = random_imatrix(tiny)
    overrides = ["ffn_up=iq3_s", "attn_k=iq2_xxs", "attn_v=iq3_xxs"]
    export(tiny, "gguf-q4", tmp_path / "ours.gguf", imatrix=imatrix, overrides=overrides)
    official_quantize(f32, tmp_path / "theirs.gguf", "Q4_K_M", imatrix=imatrix, overrides=overrides)
    equal_files(tmp_path / "ours.gguf", tmp_path / "theirs.gguf")


def test_a_float_file_holds_the_weights_exactly_or_rounded_once(tmp_path, tiny_model, export):
    tiny = tiny_model()
    for name, dtype in (("gguf-f32", np.float32), ("gguf-f16", np.float16)):
        export(tiny, name, tmp_path / "model.gguf", force=True)
        reader = GGUFReader(tmp_path / "model.gguf")
        assert [tensor.name for tensor in reader.tensors] == [tensor.name for tensor in tiny.description.tensors]
        for tensor, output in zip(reader.tensors, tiny.description.tensors, strict=True):
            values = output.constant
            if values is None:
                source = tiny.model.arrays[output.source]
                values = output.transform(source.reshape(-1, source.shape[-1]))
            kept = len(output.shape) < 2
            assert tensor.data.dtype == (np.float32 if kept else dtype)
            assert np.array_equal(tensor.data.reshape(-1), values.astype(tensor.data.dtype).reshape(-1)), tensor.name


def test_a_float_file_says_its_type_where_the_converter_says_it(tmp_path, tiny_model, export):
    tiny = tiny_model()
    export(tiny, "gguf-f16", tmp_path / "model.gguf")
    fields = GGUFReader(tmp_path / "model.gguf").fields
    keys = [key for key in fields if not key.startswith("GGUF.")]
    assert keys == [entry.key for entry in tiny.description.metadata]
    assert fields["general.file_type"].contents() == 1
    assert fields["general.quantization_version"].contents() == 2
    assert fields["general.tags"].contents() == ["a", "b"]

    unmarked = tuple(entry for entry in tiny.description.metadata if "file_type" not in entry.key)
    description = replace(tiny.description, metadata=unmarked)
    export(tiny._replace(description=description), "gguf-f16", tmp_path / "model.gguf", force=True)
    keys = list(GGUFReader(tmp_path / "model.gguf").fields)
    assert keys.index("general.file_type") == keys.index("tokenizer.ggml.model") - 1


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("weights", [1, 5000, 2**22])
def test_bytes_do_not_depend_on_threads_or_chunks(threads, weights, tmp_path, monkeypatch, float_file, export):
    tiny, _ = float_file("576")
    expected = tmp_path / "expected.gguf"
    export(tiny, "gguf-q4", expected)
    monkeypatch.setattr(stream, "TARGET_WEIGHTS", weights)
    export(tiny, "gguf-q4", tmp_path / "other.gguf", threads=threads)
    assert (tmp_path / "other.gguf").read_bytes() == expected.read_bytes()


def test_bytes_do_not_depend_on_the_order_of_chunks_across_experts(tmp_path, float_file, export):
    tiny, _ = float_file("experts 4")
    imatrix = random_imatrix(tiny)
    export(tiny, "gguf-q4", tmp_path / "expected.gguf", imatrix=imatrix)
    writer = GgufWriter(tiny.description, tmp_path / "other.gguf", find_format("gguf-q4").scheme, imatrix=imatrix)
    chunks = []
    for name, info in tiny.model.tensors.items():
        # 48 rows: chunks cross the experts' bounds.
        for start in range(0, info.rows, 48):
            stop = min(start + 48, info.rows)
            chunks.append(RowChunk(name, start, stop, tiny.model.rows(name, start, stop)))
    random.Random(0).shuffle(chunks)
    for chunk in chunks:
        writer.write(chunk)
    writer.finish()
    assert (tmp_path / "other.gguf").read_bytes() == (tmp_path / "expected.gguf").read_bytes()


def test_tensors_may_share_a_source_and_leave_its_last_rows_out(tmp_path, tiny_model, export):
    tiny = tiny_model()
    table = next(t for t in tiny.description.tensors if t.name == "token_embd.weight")
    cut = replace(table, shape=(90, 256))
    output = OutputTensor("output.weight", table.source, (90, 256), transform=lambda rows: rows + 1)
    others = tuple(t for t in tiny.description.tensors if t is not table)
    export(Tiny(tiny, (cut, output, *others)), "gguf-f32", tmp_path / "model.gguf")
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(tmp_path / "model.gguf").tensors}
    values = tiny.model.arrays[table.source][:90]
    assert np.array_equal(tensors["token_embd.weight"], values)
    assert np.array_equal(tensors["output.weight"], values + 1)


def Tiny(tiny, tensors):  # noqa: N802 (it makes one)
    return tiny._replace(description=replace(tiny.description, tensors=tensors))


def test_an_existing_target_needs_force(tmp_path, tiny_model, export):
    target = tmp_path / "model.gguf"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"model\.gguf exists"):
        export(tiny_model(), "gguf-q4_0", target)
    assert target.read_bytes() == b"old"
    export(tiny_model(), "gguf-q4_0", target, force=True)
    assert target.read_bytes()[:4] == b"GGUF"
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_that_appears_while_writing_is_not_replaced(tmp_path, tiny_model):
    tiny = tiny_model()
    target = tmp_path / "model.gguf"
    writer = GgufWriter(tiny.description, target, find_format("gguf-q4_0").scheme)
    target.write_bytes(b"theirs")
    with pytest.raises(OutputError, match="exists"):
        run_stream(tiny.model, [writer], tiny.description, progress=Silent())
    assert target.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_the_mode_of_the_file_follows_the_umask(tmp_path, tiny_model, export):
    (tmp_path / "plain").touch()
    export(tiny_model(), "gguf-q4_0", tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_abort_leaves_nothing_and_may_be_called_twice(tmp_path, tiny_model):
    writer = GgufWriter(tiny_model().description, tmp_path / "model.gguf", find_format("gguf-q4_0").scheme)
    assert len(list(tmp_path.iterdir())) == 1
    writer.abort()
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_read_only_folder_is_an_output_error(tmp_path, tiny_model, export):
    with pytest.raises(OutputError, match="No such file"):
        export(tiny_model(), "gguf-q4_0", tmp_path / "no" / "model.gguf")
    with pytest.raises(OutputError, match="is a folder"):
        export(tiny_model(), "gguf-q4_0", tmp_path, force=True)


def bad_model(tiny, name, row, value):
    """The model with one weight replaced."""
    arrays = {source: values.copy() for source, values in tiny.model.arrays.items()}
    arrays[f"model.{name}"][row, 3] = value
    return tiny._replace(model=replace(tiny.model, arrays=arrays))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["gguf-q4_0", "gguf-f32"])
def test_a_weight_that_is_not_finite_is_refused(value, name, tmp_path, tiny_model, export):
    tiny = bad_model(tiny_model(), "blk.1.ffn_up.weight", 5, value)
    with pytest.raises(CheckpointError, match=rf"blk\.1\.ffn_up\.weight has {value} at row 5, column 3"):
        export(tiny, name, tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_finite_weights_whose_squares_overflow_are_written(tmp_path, tiny_model, export):
    tiny = bad_model(tiny_model(), "blk.1.ffn_up.weight", 5, 1e30)
    export(tiny, "gguf-f32", tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").is_file()


@pytest.mark.parametrize(("name", "value"), [("gguf-f16", 70000.0), ("gguf-q4_0", 1e6), ("gguf-q4", 1e9)])
def test_a_weight_too_large_for_the_type_is_refused(name, value, tmp_path, tiny_model, export):
    tiny = bad_model(tiny_model(), "blk.1.ffn_up.weight", 5, value)
    with pytest.raises(CheckpointError, match=r"blk\.1\.ffn_up\.weight holds .*, too large for"):
        export(tiny, name, tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_rows_that_never_came_or_came_twice_are_refused(tmp_path, tiny_model):
    tiny = tiny_model()
    source = "model.blk.0.ffn_up.weight"
    for extra in ([], [(0, 512), (0, 512)], [(0, 256), (128, 512)], [(0, 500)]):
        writer = GgufWriter(tiny.description, tmp_path / "model.gguf", find_format("gguf-q4_0").scheme)
        for name, info in tiny.model.tensors.items():
            for start, stop in [(0, info.rows)] if name != source else extra:
                writer.write(RowChunk(name, start, stop, tiny.model.rows(name, start, stop)))
        with pytest.raises(CheckpointError, match=r"blk\.0\.ffn_up\.weight: its 512 rows did not arrive exactly once"):
            writer.finish()
        assert list(tmp_path.iterdir()) == []


def test_rows_of_another_width_than_described_are_refused(tmp_path, tiny_model):
    tiny = tiny_model()
    writer = GgufWriter(tiny.description, tmp_path / "model.gguf", find_format("gguf-q4_0").scheme)
    with pytest.raises(CheckpointError, match=r"described as 512 × 256, but rows 0 to 2 are 2 × 128"):
        writer.write(RowChunk("model.blk.0.ffn_up.weight", 0, 2, np.zeros((2, 128), np.float32)))
    writer.abort()


def test_an_imatrix_of_another_model_is_refused_but_for_embeddings(tmp_path, tiny_model, export):
    tiny = tiny_model(tied=False)
    imatrix = random_imatrix(tiny)
    wrong = replace(imatrix, weights={**imatrix.weights, "blk.0.attn_q.weight": np.ones(128, np.float32)})
    with pytest.raises(InputError, match=r"has 128 values for blk\.0\.attn_q\.weight, the model has 1 × 256"):
        export(tiny, "gguf-q4", tmp_path / "model.gguf", imatrix=wrong)
    embeddings = replace(imatrix, weights={**imatrix.weights, "token_embd.weight": np.ones(128, np.float32)})
    export(tiny, "gguf-q4", tmp_path / "model.gguf", imatrix=embeddings)


def test_a_type_that_needs_an_imatrix_is_refused_where_it_has_no_values(tmp_path, tiny_model, export):
    tiny = tiny_model()
    with pytest.raises(InputError, match="needs an importance matrix"):
        export(tiny, "gguf-q4", tmp_path / "model.gguf", overrides=["ffn_up=iq2_xxs"])
    imatrix = random_imatrix(tiny, without=["blk.1.ffn_up"])
    with pytest.raises(InputError, match=r"blk\.1\.ffn_up\.weight as IQ2_XXS .* has no values for it"):
        export(tiny, "gguf-q4", tmp_path / "model.gguf", imatrix=imatrix, overrides=["ffn_up=iq2_xxs"])
    assert list(tmp_path.iterdir()) == []


def test_imatrix_and_overrides_leave_float_files_as_they_are(tmp_path, tiny_model, export):
    tiny = tiny_model()
    export(tiny, "gguf-f16", tmp_path / "plain.gguf")
    export(tiny, "gguf-f16", tmp_path / "other.gguf", imatrix=random_imatrix(tiny), overrides=["ffn_up=q8_0"])
    assert (tmp_path / "plain.gguf").read_bytes() == (tmp_path / "other.gguf").read_bytes()
    with pytest.raises(UsageError):
        export(tiny, "gguf-f16", tmp_path / "third.gguf", overrides=["ffn_up"])


def test_a_merged_split_base_is_one_file(tmp_path, tiny_model, export):
    tiny = tiny_model()
    metadata = (*tiny.description.metadata, MetadataEntry("split.count", 3, "UINT16"))
    export(tiny._replace(description=replace(tiny.description, metadata=metadata)), "gguf-f32", tmp_path / "m.gguf")
    assert "split.count" not in GGUFReader(tmp_path / "m.gguf").fields


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no small tmpfs can be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_too_small_is_told_before_anything_is_written(small_disk, tiny_model, export):
    with pytest.raises(OutputError, match=r"model\.gguf needs [\d,]+ bytes; 1,048,576 bytes are free in .*small"):
        export(tiny_model(), "gguf-f16", small_disk / "model.gguf")
    assert list(small_disk.iterdir()) == []


def test_a_second_file_that_no_longer_fits_is_told_while_it_is_opened(small_disk, tiny_model):
    tiny = tiny_model(layers=1, ffn=256)
    first = GgufWriter(tiny.description, small_disk / "a.gguf", find_format("gguf-f16").scheme)
    with pytest.raises(OutputError, match=r"b\.gguf needs [\d,]+ bytes; [\d,]+ bytes are free"):
        GgufWriter(tiny.description, small_disk / "b.gguf", find_format("gguf-f16").scheme)
    first.abort()
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_while_writing_leaves_nothing(small_disk, tiny_model, export, monkeypatch):
    def unable(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unable)
    real, asked = shutil.disk_usage, []

    def room_at_first(path):
        asked.append(path)
        return real(path) if len(asked) > 1 else shutil._ntuple_diskusage(2**40, 0, 2**40)

    monkeypatch.setattr(shutil, "disk_usage", room_at_first)
    with pytest.raises(OutputError, match=r"model\.gguf needs [\d,]+ bytes"):
        export(tiny_model(), "gguf-f16", small_disk / "model.gguf")
    assert list(small_disk.iterdir()) == []


def test_an_architecture_that_llama_cpp_would_not_know_still_writes_floats(tmp_path):
    """The writer itself knows no architecture: it follows the description."""
    from edgeproof.export.formats import effective_bits

    description = ModelDescription(
        "nobodys",
        (MetadataEntry("general.architecture", "nobodys", "STRING"),),
        (OutputTensor("a.weight", "a", (4, 8)),),
    )
    writer = GgufWriter(description, tmp_path / "m.gguf", find_format("gguf-f16").scheme)
    writer.write(RowChunk("unused", 0, 1, np.zeros((1, 8), np.float32)))
    writer.write(RowChunk("a", 0, 4, np.ones((4, 8), np.float32)))
    records = writer.finish()
    assert records == (("a.weight", (4, 8), "F16", 64),)
    assert effective_bits(records) == 16

"""An ONNX folder appears complete or not at all, whatever the chunks, the threads and what goes wrong."""

from __future__ import annotations

import json
import shutil
import threading

import numpy as np
import pytest
from edgeproof.contracts.errors import CheckpointError, OutputError, TokenizerError, UnsupportedError
from edgeproof.contracts.progress import Silent
from edgeproof.contracts.tensors import RowChunk
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.onnx.description import describe_onnx
from edgeproof.export.onnx.tokenizer_files import read_tokenizer_files
from edgeproof.export.onnx.writer import OnnxWriter
from edgeproof.export.stream import run_stream
from edgeproof_tests.models import save_model

pytestmark = pytest.mark.torch

NAMES = [
    "chat_template.jinja",
    "genai_config.json",
    "model.onnx",
    "model.onnx.data",
    "tokenizer.json",
    "tokenizer_config.json",
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2, "num_key_value_heads": 1}
    return save_model("qwen2", tmp_path_factory.mktemp("base") / "tiny", **sizes, tie_word_embeddings=False)


def open_writer(base, target, scheme="onnx-int4", **options):
    return OnnxWriter(describe_onnx(open_checkpoint(base), read_tokenizer_files(base)), target, scheme, **options)


def chunks(base, *, step: int = 2**30):
    model = open_checkpoint(base)
    for name, info in model.tensors.items():
        for start in range(0, info.rows, step):
            stop = min(start + step, info.rows)
            yield RowChunk(name, start, stop, model.rows(name, start, stop))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def expected(base, tmp_path):
    writer = open_writer(base, tmp_path / "whole")
    for chunk in chunks(base):
        writer.write(chunk)
    writer.finish()
    return content(tmp_path / "whole")


def test_chunks_in_any_order_from_many_threads_give_the_same_bytes(base, tmp_path, expected):
    writer = open_writer(base, tmp_path / "pieces")
    pieces = list(chunks(base, step=7))
    np.random.default_rng(1).shuffle(pieces)
    workers = [threading.Thread(target=lambda part: [*map(writer.write, part)], args=(pieces[n::4],)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    writer.finish()
    assert content(tmp_path / "pieces") == expected


def test_the_folder_holds_what_a_device_needs_and_nothing_else(base, expected):
    assert sorted(expected) == NAMES
    source = content(base)
    assert expected["tokenizer.json"] == source["tokenizer.json"]
    assert expected["chat_template.jinja"] == source["chat_template.jinja"]
    ours, theirs = (json.loads(files["tokenizer_config.json"]) for files in (expected, source))
    assert ours == {**theirs, "model_max_length": 512}


def test_records_tell_every_matrix_and_vector_with_its_stored_bytes(base, tmp_path):
    model = open_checkpoint(base)
    description = describe_onnx(model, read_tokenizer_files(base))
    writer = OnnxWriter(description, tmp_path / "out", "onnx-int4")
    (records,) = run_stream(
        model, [writer], dict.fromkeys(description.sources.values(), 1), threads=2, progress=Silent()
    )
    found = {record.name: record for record in records}
    assert found["model.layers.0.attn.qkv_proj"][1:] == ((128, 64), "int4", 128 * 64 // 2 + 128 * 2 * 4)
    assert found["model.embed_tokens"].type == "float32"
    assert found["model.layers.1.attn.qkv_proj.Add.bias"].bytes == 4 * 128
    weights = sum(np.prod(info.shape) for info in model.tensors.values())
    assert sum(np.prod(record.shape) for record in records) == weights


def test_nothing_appears_before_finish_and_nothing_stays_after_abort(base, tmp_path):
    writer = open_writer(base, tmp_path / "out")
    for chunk in chunks(base):
        writer.write(chunk)
    assert not (tmp_path / "out").exists()
    writer.abort()
    writer.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["missing", "twice", "bias missing"])
def test_rows_that_did_not_come_exactly_once_are_told(fault, base, tmp_path):
    writer = open_writer(base, tmp_path / "out")
    for chunk in chunks(base, step=48):
        if fault == "missing" and (chunk.name, chunk.start) == ("model.layers.1.mlp.up_proj.weight", 48):
            continue
        if fault == "bias missing" and chunk.name == "model.layers.0.self_attn.k_proj.bias":
            continue
        writer.write(chunk)
        if fault == "twice" and chunk.name == "lm_head.weight" and chunk.start == 48:
            writer.write(chunk)
    with pytest.raises(CheckpointError, match="did not arrive exactly once"):
        writer.finish()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model.layers.0.mlp.up_proj.weight", "model.norm.weight"])
def test_weights_that_are_not_finite_are_refused(name, base, tmp_path):
    writer = open_writer(base, tmp_path / "out")
    rows = np.ones((96, 64) if "mlp" in name else (1, 64), np.float32)
    rows[0, 5] = np.nan
    with pytest.raises(CheckpointError, match=r"has nan at row 0, column 5"):
        writer.write(RowChunk(name, 0, len(rows), rows))
    writer.abort()


def test_an_existing_folder_is_replaced_as_a_whole_and_only_with_force(base, tmp_path, expected):
    target = tmp_path / "whole"
    with pytest.raises(OutputError, match="exists"):
        open_writer(base, target)
    (target / "tokenizer.json").write_text("old")
    (target / "left over").write_text("old")
    writer = open_writer(base, target, force=True)
    assert (target / "left over").exists()
    for chunk in chunks(base):
        writer.write(chunk)
    writer.finish()
    assert content(target) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_folder_that_is_no_artifact_is_never_replaced(base, tmp_path):
    for name in ("photos", "models"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "genai_config.json").write_text("{}")
    (tmp_path / "photos" / "genai_config.json").rename(tmp_path / "photos" / "cat.jpg")
    (tmp_path / "models" / "more").mkdir()
    (tmp_path / "file").write_text("text")
    for name in ("photos", "models", "file"):
        with pytest.raises(OutputError, match=r"is not an ONNX artifact|is not a folder"):
            open_writer(base, tmp_path / name, force=True)


def test_a_rename_that_fails_leaves_the_old_folder(base, tmp_path, expected, monkeypatch):
    target = tmp_path / "whole"
    writer = open_writer(base, target, force=True)
    for chunk in chunks(base):
        writer.write(chunk)
    rename = type(target).rename

    def fail(path, other):
        if path.name.endswith(".part"):
            raise OSError(5, "Input/output error")
        return rename(path, other)

    monkeypatch.setattr(type(target), "rename", fail)
    with pytest.raises(OutputError, match="Input/output error"):
        writer.finish()
    assert content(target) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_too_little_space_shows_before_anything_is_computed(base, tmp_path, monkeypatch):
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(OutputError, match=r"needs [\d,]+ bytes; 1,000 bytes are free"):
        open_writer(base, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def copy(base, tmp_path, *without):
    folder = tmp_path / "base"
    folder.mkdir()
    for path in base.iterdir():
        if path.name not in without:
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_base_with_a_sentencepiece_model_alone_is_told_how_to_make_the_other(base, tmp_path):
    folder = copy(base, tmp_path, "tokenizer.json")
    (folder / "tokenizer.model").write_bytes(b"")
    with pytest.raises(TokenizerError, match=r"has only tokenizer\.model") as caught:
        read_tokenizer_files(folder)
    assert "AutoTokenizer" in caught.value.next_step


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tokenizer_config.json", None, r"no tokenizer_config\.json"),
        ("tokenizer_config.json", "[]", "is not a JSON object"),
        ("tokenizer.json", "{", "is not JSON"),
        ("tokenizer.json", "{}", "has no vocabulary"),
    ],
)
def test_a_tokenizer_that_cannot_be_read_is_refused(name, text, message, base, tmp_path):
    folder = copy(base, tmp_path, name)
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(TokenizerError, match=message):
        read_tokenizer_files(folder)


def test_a_family_without_a_graph_is_refused_with_the_way_round(tmp_path):
    folder = save_model("lfm2", tmp_path / "tiny")
    with pytest.raises(UnsupportedError, match="convolution layers") as caught:
        describe_onnx(open_checkpoint(folder), read_tokenizer_files(folder))
    assert "--onnx-builder" in caught.value.next_step

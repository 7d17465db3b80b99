"""A Hugging Face folder is read as its authors stored it, and a damaged or doubtful one is refused with the reason."""

from __future__ import annotations

import json
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from edgeproof.contracts.errors import CheckpointError, UnsupportedError
from edgeproof.export.base.checkpoint import open_checkpoint


def header_of(path: Path) -> tuple[dict, bytes]:
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def write(path: Path, header: object, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def folder_of(tmp_path: Path, header: object, data: bytes, config: object = None) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"} if config is None else config))
    write(tmp_path / "model.safetensors", header, data)
    return tmp_path


def entry(begin: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape or [(end - begin) // 4], "data_offsets": [begin, end]}


@pytest.mark.torch
@pytest.mark.parametrize("shards", [False, True], ids=["single", "sharded"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_values_equal_torchs(dtype, shards, make_base):
    import torch
    import transformers

    folder = make_base("llama", dtype=dtype, shards=shards)
    assert (len(list(folder.glob("*.safetensors"))) > 2) == shards
    checkpoint = open_checkpoint(folder)
    state = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).state_dict()
    assert checkpoint.tensors.keys() == state.keys()
    assert checkpoint.config["model_type"] == "llama"
    assert {info.dtype for info in checkpoint.tensors.values()} == {
        {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
    }
    for name, tensor in state.items():
        info = checkpoint.tensors[name]
        assert info.shape == tuple(tensor.shape)
        rows = np.concatenate([checkpoint.rows(name, at, min(at + 77, info.rows)) for at in range(0, info.rows, 77)])
        assert rows.dtype == np.float32
        assert np.array_equal(rows.reshape(info.shape), tensor.float().numpy())


def test_every_finite_half_precision_number_is_read_as_numpy_reads_it(tmp_path):
    bits = np.arange(65536, dtype=np.uint16)
    half = bits.view(np.float16)
    half = half[np.isfinite(half)]
    wide = (bits.astype(np.uint32) << 16).view(np.float32)
    brain = bits[np.isfinite(wide)]
    data = half.tobytes() + brain.tobytes()
    header = {
        "half": entry(0, half.nbytes, [half.size], "F16"),
        "brain": entry(half.nbytes, len(data), [brain.size], "BF16"),
    }
    checkpoint = open_checkpoint(folder_of(tmp_path, header, data))
    assert np.array_equal(checkpoint.rows("half", 0, 1)[0].view(np.uint32), half.astype(np.float32).view(np.uint32))
    expected = (brain.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(checkpoint.rows("brain", 0, 1)[0].view(np.uint32), expected.view(np.uint32))


def test_tensors_are_ordered_by_file_then_by_name(tmp_path):
    header = {"b": entry(0, 4), "a": entry(4, 8), "__metadata__": {"format": "pt"}}
    assert list(open_checkpoint(folder_of(tmp_path, header, bytes(8))).tensors) == ["a", "b"]


def test_arrays_are_fresh(tmp_path):
    checkpoint = open_checkpoint(folder_of(tmp_path, {"a": entry(0, 16, [2, 2])}, np.ones(4, np.float32).tobytes()))
    first = checkpoint.rows("a", 0, 2)
    first[:] = 7
    assert np.array_equal(checkpoint.rows("a", 0, 2), np.ones((2, 2)))
    assert first.flags.c_contiguous


def test_many_threads_read_the_same(tmp_path):
    values = np.random.default_rng(1).standard_normal((512, 64)).astype(np.float32)
    checkpoint = open_checkpoint(folder_of(tmp_path, {"a": entry(0, values.nbytes, [512, 64])}, values.tobytes()))
    bounds = [(at, at + 8) for at in range(504)] * 3
    with ThreadPoolExecutor(8) as pool:
        for (start, stop), rows in zip(bounds, pool.map(lambda job: checkpoint.rows("a", *job), bounds), strict=True):
            assert np.array_equal(rows, values[start:stop])


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_nan_and_infinity_are_found_with_their_place(dtype, bad, tmp_path):
    values = np.ones((40, 3000), np.float32)
    values[33, 1234] = float(bad)
    raw = {"F32": values, "F16": values.astype(np.float16), "BF16": (values.view(np.uint32) >> 16).astype(np.uint16)}[
        dtype
    ]
    header = {"w": entry(0, raw.nbytes, [40, 3000], dtype)}
    checkpoint = open_checkpoint(folder_of(tmp_path, header, raw.tobytes()))
    checkpoint.rows("w", 0, 33)
    with pytest.raises(CheckpointError, match=r"w in .*model.safetensors holds .*: row 33, column 1234"):
        checkpoint.rows("w", 20, 40)


@pytest.mark.parametrize("kind", [["llama"], {"llama": 1}, 3])
def test_a_family_that_is_no_name_is_refused(kind, tmp_path):
    folder = folder_of(tmp_path, {"w": entry(0, 8)}, bytes(8), {"model_type": kind})
    with pytest.raises(CheckpointError, match=r"`model_type` is a (list|dict|int)"):
        open_checkpoint(folder)


def test_large_finite_values_are_no_infinity(tmp_path):
    values = np.full(70_000, 3e38, np.float32)
    checkpoint = open_checkpoint(folder_of(tmp_path, {"w": entry(0, values.nbytes)}, values.tobytes()))
    assert np.array_equal(checkpoint.rows("w", 0, 1)[0], values)


def test_read_pages_are_let_go(tmp_path):
    """The resident part of the map stays small while a file much larger than it passes."""
    size = 2**25
    with (tmp_path / "model.safetensors").open("wb") as file:
        text = json.dumps({"w": entry(0, size * 4, [2**13, 2**12])}).encode()
        file.write(struct.pack("<Q", len(text)) + text)
        file.seek(size * 4 - 1, 1)
        file.write(b"\0")
    (tmp_path / "config.json").write_text("{}")
    checkpoint = open_checkpoint(tmp_path)
    resident = []
    for start in range(0, 2**13, 2**9):
        checkpoint.rows("w", start, start + 2**9)
        smaps = Path("/proc/self/smaps").read_text().split(str(tmp_path / "model.safetensors"))[1]
        resident.append(int(smaps.split("Rss:")[1].split()[0]))
    assert max(resident) < 4096, resident  # KB, of 131,072: the last chunk mapped pages ahead of itself


BROKEN = {
    "truncated data": ({"a": entry(0, 400)}, bytes(399), "its tensors need"),
    "trailing bytes": ({"a": entry(0, 400)}, bytes(401), "its tensors need"),
    "overlap": ({"a": entry(0, 400), "b": entry(200, 600)}, bytes(600), "b overlaps another tensor"),
    "hole": ({"a": entry(0, 400), "b": entry(500, 600)}, bytes(600), "b leaves a hole"),
    "range and shape": ({"a": entry(0, 400, [50])}, bytes(400), r"a \(50,\) F32 needs 200 bytes, its range has 400"),
    "negative": ({"a": entry(-4, 4, [2])}, bytes(8), "lacks a type, a shape or its byte range"),
    "reversed": ({"a": entry(8, 4, [1])}, bytes(8), "needs 4 bytes, its range has -4"),
    "huge shape": ({"a": entry(0, 8, [2**62, 2**62])}, bytes(8), "needs"),
    "no shape": ({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4), "lacks a type"),
    "bool as size": ({"a": entry(0, 4) | {"shape": [True]}}, bytes(4), "lacks a type"),
    "unknown type": ({"a": entry(0, 4, [1], "F17")}, bytes(4), "unknown type F17"),
    "no object": ({"a": [0, 4]}, bytes(4), "entry of a is not an object"),
    "no json": (b"{]", bytes(4), "header is not JSON"),
    "a list": (b"[]", b"", "not a JSON object"),
    "not text": (b"\xff\xfe{}", b"", "header is not JSON"),
    "twice": (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}', bytes(4), "appears twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_files_that_contradict_themselves_are_refused(case, tmp_path):
    header, data, message = BROKEN[case]
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(folder_of(tmp_path, header, data))
    assert str(tmp_path / "model.safetensors") in str(caught.value)
    assert caught.value.next_step


@pytest.mark.parametrize("cut", [0, 5, 8, 60, -1])
def test_truncated_file_is_refused(cut, tmp_path):
    folder = folder_of(tmp_path, {"a": entry(0, 400)}, bytes(400))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:cut])
    with pytest.raises(CheckpointError):
        open_checkpoint(folder)


def test_header_length_beyond_the_file_is_refused(tmp_path):
    folder = folder_of(tmp_path, {"a": entry(0, 400)}, bytes(400))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(CheckpointError, match="claims 9223372036854775808 bytes"):
        open_checkpoint(folder)


def sharded(tmp_path: Path, weight_map: object) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    write(folder / "one.safetensors", {"a": entry(0, 4)}, bytes(4))
    write(folder / "two.safetensors", {"b": entry(0, 4)}, bytes(4))
    write(tmp_path / "outside.safetensors", {"c": entry(0, 4)}, bytes(4))
    (folder / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_shards_are_read_by_their_index(tmp_path):
    checkpoint = open_checkpoint(sharded(tmp_path, {"b": "two.safetensors", "a": "one.safetensors"}))
    assert list(checkpoint.tensors) == ["a", "b"]
    assert [path.name for path in checkpoint.files] == ["config.json", "one.safetensors", "two.safetensors"]


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"c": "../outside.safetensors"}, "outside the folder"),
        ({"c": "/etc/passwd"}, "outside the folder"),
        ({"c": "link.safetensors"}, "outside the folder"),
        ({"c": ".."}, "outside the folder"),
        ({"c": "..\\outside.safetensors"}, "outside the folder"),
        ({"c": "sub/../one.safetensors"}, "outside the folder"),
        ({"a": "three.safetensors"}, "three.safetensors, which is missing"),
        ({"a": "one.safetensors", "x": "one.safetensors"}, "holds x, and it does not"),
        ({"b": "one.safetensors"}, "holds b, and it does not"),
        ({}, "no weight_map"),
        ([], "no weight_map"),
        ({"a": 3}, "the shard 3"),
    ],
)
def test_index_that_lies_is_refused(weight_map, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(sharded(tmp_path, weight_map))


def test_tensor_that_the_index_leaves_out_is_refused(tmp_path):
    folder = sharded(tmp_path, {"a": "one.safetensors"})
    write(folder / "one.safetensors", {"a": entry(0, 4), "z": entry(4, 8)}, bytes(8))
    with pytest.raises(CheckpointError, match=r"one\.safetensors holds z"):
        open_checkpoint(folder)


def test_links_of_the_hugging_face_cache_are_followed(tmp_path):
    repository = tmp_path / "models--org--name"
    snapshot, blobs = repository / "snapshots" / "abc", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    write(blobs / "123", {"a": entry(0, 4)}, bytes(4))
    (snapshot / "one.safetensors").symlink_to(blobs / "123")
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "one.safetensors"}}))
    assert list(open_checkpoint(snapshot).tensors) == ["a"]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt"])
def test_pickled_weights_are_refused_with_the_way_round(name, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"\x80\x04")
    with pytest.raises(CheckpointError, match=f"as {name}, a pickle") as caught:
        open_checkpoint(tmp_path)
    assert "save_pretrained" in caught.value.next_step


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "awq"},
        {"quant_method": "fp8"},
        {"quant_method": "mxfp4"},
    ],
)
def test_quantized_checkpoint_is_refused(quantization, tmp_path):
    folder = folder_of(tmp_path, {"a": entry(0, 4)}, bytes(4), {"quantization_config": quantization})
    with pytest.raises(UnsupportedError, match=quantization["quant_method"]):
        open_checkpoint(folder)


@pytest.mark.parametrize("dtype", ["I8", "U8", "F8_E4M3", "F8_E5M2"])
def test_weights_of_integers_or_eight_bits_are_refused(dtype, tmp_path):
    folder = folder_of(tmp_path, {"a.weight": entry(0, 4, [4], dtype)}, bytes(4))
    with pytest.raises(UnsupportedError, match=f"a.weight is stored as {dtype}"):
        open_checkpoint(folder)


def test_integer_buffers_of_old_checkpoints_are_left_out(tmp_path):
    header = {"a.weight": entry(0, 4), "position_ids": entry(4, 20, [2], "I64")}
    assert list(open_checkpoint(folder_of(tmp_path, header, bytes(20))).tensors) == ["a.weight"]


@pytest.mark.parametrize("config", ["", "{", "[]", "null", None])
def test_missing_or_broken_config_is_refused(config, tmp_path):
    folder = folder_of(tmp_path, {"a": entry(0, 4)}, bytes(4))
    (folder / "config.json").unlink()
    if config is not None:
        (folder / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        open_checkpoint(folder)


def test_missing_folder_and_missing_weights_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        open_checkpoint(tmp_path / "file")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor"):
        open_checkpoint(tmp_path)


def test_safetensors_own_files_are_read_and_its_rejects_refused(tmp_path):
    """The format's own library is the oracle: random damage to a header that it rejects is rejected here too."""
    safetensors = pytest.importorskip("safetensors")
    from safetensors.numpy import load_file, save_file

    rng = np.random.default_rng(3)
    tensors = {f"t{i}": rng.standard_normal((3, i + 1)).astype(np.float32) for i in range(6)}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text("{}")
    checkpoint = open_checkpoint(tmp_path)
    for name, tensor in tensors.items():
        assert np.array_equal(checkpoint.rows(name, 0, 3), tensor)
    whole = (tmp_path / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    rejected = 0
    for _ in range(400):
        broken = bytearray(whole)
        broken[rng.integers(8 + length)] = rng.choice(np.frombuffer(b'0123456789{}[]":,FI \xff', np.uint8))
        (tmp_path / "model.safetensors").write_bytes(broken)
        try:
            load_file(tmp_path / "model.safetensors")
        except (safetensors.SafetensorError, KeyError, ValueError):
            rejected += 1
            with pytest.raises((CheckpointError, UnsupportedError)):
                open_checkpoint(tmp_path)
    assert rejected > 100

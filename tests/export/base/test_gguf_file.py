"""A GGUF as base: its floats as they are, adapters in its row order; damaged and quantized files are refused."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.errors import CheckpointError, OutputError, UnsupportedError
from edgeproof.contracts.gguf_header import read_header
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.base.dequantize import dequantize_gguf
from edgeproof.export.base.gguf_file import open_gguf_base
from edgeproof.export.merge.merged import MergedModel
from edgeproof_tests.export.conftest import peft_merge
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGMLQuantizationType, GGUFReader, GGUFWriter, get_tensor_name_map, quants

if TYPE_CHECKING:
    from pathlib import Path

HEADS, KV_HEADS = 4, 2


def interleave(rows: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's rope layout, row by row: what stood at i of a head's two halves stands at 2i and 2i + 1."""
    out = np.empty_like(rows)
    size = len(rows) // heads
    for head in range(heads):
        for i in range(size // 2):
            out[head * size + 2 * i] = rows[head * size + i]
            out[head * size + 2 * i + 1] = rows[head * size + size // 2 + i]
    return out


def to_gguf(tensors: dict[str, np.ndarray], path: Path, *, architecture: str = "llama", kind: str = "F32") -> Path:
    """A GGUF of Hugging Face tensors as llama.cpp's converter would order them, by gguf's own writer."""
    arch = {name: key for key, name in MODEL_ARCH_NAMES.items()}[architecture]
    names = get_tensor_name_map(arch, 2)
    writer = GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(256)
    writer.add_feed_forward_length(512)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(320)
    writer.add_file_type(0)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"t{i}" for i in range(320)])
    writer.add_token_scores([-1.0 * i for i in range(320)])
    writer.add_token_types([1] * 320)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, values in tensors.items():
        tensor = values
        if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
            tensor = interleave(tensor, HEADS if "q_proj" in name else KV_HEADS)
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            tensor = tensor + np.float32(1)
        wanted = GGMLQuantizationType[kind] if tensor.ndim > 1 else GGMLQuantizationType.F32
        stored = names.get_name(name, (".weight", ".bias"))
        writer.add_tensor(stored, quants.quantize(tensor, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def hf_tensors(base: Path) -> dict[str, np.ndarray]:
    checkpoint = open_checkpoint(base)
    return {
        info.name: checkpoint.rows(info.name, 0, info.rows).reshape(info.shape) for info in checkpoint.tensors.values()
    }


def all_rows(model, step: int = 96) -> dict[str, np.ndarray]:
    return {
        info.name: np.concatenate(
            [model.rows(info.name, at, min(at + step, info.rows)) for at in range(0, info.rows, step)]
        )
        for info in model.tensors.values()
    }


@pytest.fixture(scope="session")
def llama_gguf(llama, tmp_path_factory) -> Path:
    return to_gguf(hf_tensors(llama), tmp_path_factory.mktemp("gguf") / "tiny-base-f32.gguf")


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_rows_are_the_files_floats(kind, llama, tmp_path):
    path = to_gguf(hf_tensors(llama), tmp_path / "base.gguf", kind=kind)
    base = open_gguf_base(path)
    ours = all_rows(base, step=33)
    reader = GGUFReader(path)
    assert list(ours) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        values = quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(ours[tensor.name], values.reshape(ours[tensor.name].shape))
        assert base.tensors[tensor.name].dtype == tensor.tensor_type.name


def test_metadata_are_kept_and_the_writers_own_keys_emptied(llama_gguf):
    described = open_gguf_base(llama_gguf).describe()
    reader = GGUFReader(llama_gguf)
    fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert [entry.key for entry in described.metadata] == list(fields)
    for entry in described.metadata:
        field = fields[entry.key]
        if entry.key == "general.file_type":
            assert entry[1:] == (0, "UINT32", None)
            continue
        assert entry.value == field.contents()
        assert [entry.kind, entry.item_kind][: len(field.types)] == [kind.name for kind in field.types]
    assert described.architecture == "llama"
    assert [tensor.shape for tensor in described.tensors] == [tuple(reversed(t.shape.tolist())) for t in reader.tensors]


@pytest.mark.blas
@pytest.mark.torch
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dora": True},
        {"use_rslora": True, "target_modules": ["q_proj", "k_proj", "embed_tokens", "lm_head"]},
        {"modules_to_save": ["k_proj", "lm_head", "norm"], "target_modules": ["q_proj"]},
    ],
    ids=["lora", "dora", "rslora", "saved"],
)
def test_gguf_base_plus_adapter_equals_hf_base_plus_adapter_reordered(options, llama, llama_gguf, make_adapter):
    adapter = load_adapter(make_adapter(llama, **options))
    expected = all_rows(MergedModel(open_checkpoint(llama), [adapter]))
    base = open_gguf_base(llama_gguf)
    ours = all_rows(MergedModel(base, [adapter], base.targets()))
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, 2)
    assert len(ours) == len(expected)
    for name, values in expected.items():
        heads = HEADS if "q_proj" in name else KV_HEADS
        rows = interleave(values, heads) if "q_proj" in name or "k_proj" in name else values
        assert np.array_equal(ours[names.get_name(name, (".weight",))], rows), name


@pytest.mark.blas
@pytest.mark.torch
@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_rows_and_biases_of_other_families_keep_their_order(family, make_base, make_adapter, tmp_path):
    folder = make_base(family)
    adapter = load_adapter(make_adapter(folder, bias="lora_only" if family == "qwen2" else "none"))
    assert bool(adapter.replaced) == (family == "qwen2")
    base = open_gguf_base(to_gguf(hf_tensors(folder), tmp_path / "tiny-base.gguf", architecture=family))
    merged = MergedModel(base, [adapter], base.targets())
    assert not merged.warnings
    ours, expected = all_rows(merged), all_rows(MergedModel(open_checkpoint(folder), [adapter]))
    names = base.targets()
    for name, rows in expected.items():
        assert np.array_equal(ours[names[name].name], rows), name


@pytest.mark.blas
@pytest.mark.torch
def test_merged_gguf_read_by_transformers_equals_peft(llama, llama_gguf, make_adapter, tmp_path):
    """Transformers' own GGUF import undoes llama.cpp's row order: the oracle for ours."""
    import torch
    import transformers

    adapter = make_adapter(llama)
    base = open_gguf_base(llama_gguf)
    merged = all_rows(MergedModel(base, [load_adapter(adapter)], base.targets()))
    writer = GGUFWriter(tmp_path / "merged.gguf", "llama")
    writer.kv_data = [{}]
    from gguf import GGUFValueType

    for entry in base.describe().metadata:
        item = GGUFValueType[entry.item_kind] if entry.item_kind else None
        writer.add_key_value(entry.key, entry.value, GGUFValueType[entry.kind], item)
    for name, rows in merged.items():
        writer.add_tensor(name, rows.reshape(base.tensors[name].shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="merged.gguf", dtype=torch.float32, quantization_config=gguf_config(transformers)
    )
    theirs = peft_merge(llama, [adapter])
    state = model.state_dict()
    assert len(state) == len(theirs)
    for name, tensor in theirs.items():
        assert np.array_equal(state[name].numpy(), tensor), name


def gguf_config(transformers):
    config = getattr(transformers, "GgufConfig", None)
    return config(dequantize=True) if config else None


@pytest.mark.torch
def test_gemma_norms_are_shifted_when_replaced(make_base, make_adapter, tmp_path):
    folder = make_base("gemma3", tie_word_embeddings=True)
    path = to_gguf(hf_tensors(folder), tmp_path / "gemma.gguf", architecture="gemma3")
    adapter = load_adapter(make_adapter(folder, modules_to_save=["input_layernorm"]))
    base = open_gguf_base(path)
    merged = MergedModel(base, [adapter], base.targets())
    expected = all_rows(MergedModel(open_checkpoint(folder), [adapter]))
    ours = all_rows(merged)
    assert np.array_equal(
        ours["blk.1.attn_norm.weight"], expected["model.layers.1.input_layernorm.weight"] + np.float32(1)
    )
    assert np.array_equal(ours["blk.1.attn_q.weight"], expected["model.layers.1.self_attn.q_proj.weight"])


@pytest.mark.torch
def test_tied_gguf_is_untied_by_a_head_adapter(tied_llama, make_adapter, tmp_path):
    path = to_gguf(hf_tensors(tied_llama), tmp_path / "tied.gguf")
    adapter = load_adapter(make_adapter(tied_llama, target_modules=["lm_head"]))
    base = open_gguf_base(path)
    merged = MergedModel(base, [adapter], base.targets())
    assert "output.weight" not in base.tensors
    assert "output.weight" in {tensor.name for tensor in base.describe(merged.tensors).tensors}
    expected = all_rows(MergedModel(open_checkpoint(tied_llama), [adapter]))
    ours = all_rows(merged)
    assert np.array_equal(ours["output.weight"], expected["lm_head.weight"])
    assert np.array_equal(ours["token_embd.weight"], expected["model.embed_tokens.weight"])


def test_quantized_base_is_refused_unless_insisted(llama, tmp_path):
    path = to_gguf(hf_tensors(llama), tmp_path / "q.gguf", kind="Q4_1")
    with pytest.raises(UnsupportedError, match=r"is quantized: \d+ of its 21 tensors.*Q4_1") as caught:
        open_gguf_base(path)
    assert "--allow-requantize" in caught.value.next_step
    ours = all_rows(open_gguf_base(path, allow_requantize=True), step=50)
    for tensor in GGUFReader(path).tensors:
        values = quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(ours[tensor.name], values.reshape(ours[tensor.name].shape))


@pytest.mark.parametrize("float_type", ["f32", "f16"])
@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0", "Q5_0", "Q4_0"])
def test_dequantized_file_holds_the_same_values_and_metadata(kind, float_type, llama, tmp_path):
    source = to_gguf(hf_tensors(llama), tmp_path / "q.gguf", kind=kind)
    target = tmp_path / "float.gguf"
    dequantize_gguf(source, target, float_type=float_type)
    before, after = GGUFReader(source), GGUFReader(target)
    assert [tensor.name for tensor in before.tensors] == [tensor.name for tensor in after.tensors]
    for old, new in zip(before.tensors, after.tensors, strict=True):
        values = quants.dequantize(old.data, old.tensor_type)
        wanted = np.float16 if float_type == "f16" and values.ndim > 1 else np.float32
        assert new.data.dtype == wanted
        assert np.array_equal(new.data, values.astype(wanted))
    own = {"general.file_type", "general.quantization_version", "GGUF.kv_count"}
    for key in before.fields.keys() - own:
        assert before.fields[key].contents() == after.fields[key].contents(), key
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]
    with pytest.raises(OutputError, match="exists"):
        dequantize_gguf(source, target, float_type=float_type)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.2, 0.9, 0.9999])
def test_truncated_file_is_refused(share, llama_gguf, tmp_path):
    whole = llama_gguf.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"not a (complete )?GGUF file"):
        open_gguf_base(path)


def test_no_cut_and_no_flipped_byte_of_the_header_ends_in_anything_but_our_errors(llama_gguf, tmp_path):
    whole = bytearray(llama_gguf.read_bytes())
    rng = np.random.default_rng(5)
    header = 16_000
    for _ in range(150):
        broken = bytearray(whole)
        for _ in range(3):
            broken[rng.integers(header)] = rng.integers(256)
        path = tmp_path / "flipped.gguf"
        path.write_bytes(broken[: rng.choice([len(broken), int(rng.integers(header))])])
        try:
            base = open_gguf_base(path, allow_requantize=True)
            base.describe()
            base.targets()
        except (CheckpointError, UnsupportedError):
            pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"PK\3\4 a zip file"), "not a GGUF file: it begins with"),
        (lambda path: path.write_bytes(b""), "not a GGUF file"),
        (lambda path: path.write_bytes(b"GGUF" + struct.pack("<IQQ", 9, 0, 0)), "its version is 9"),
        (lambda path: path.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 0, 0)), "it is big-endian"),
        (lambda path: path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0)), "tensors: "),
        (
            lambda path: path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0)),
            "has no general.architecture",
        ),
        (lambda path: path.unlink(missing_ok=True), "does not exist"),
    ],
    ids=["zip", "empty", "version", "endian", "count", "no_architecture", "missing"],
)
def test_what_is_no_gguf_is_refused(make, message, tmp_path):
    path = tmp_path / "base.gguf"
    make(path)
    with pytest.raises(CheckpointError, match=message):
        open_gguf_base(path)


def test_split_file_is_refused(tmp_path):
    writer = GGUFWriter(tmp_path / "part.gguf", "llama")
    writer.add_uint16("split.count", 3)
    writer.add_tensor("token_embd.weight", np.ones((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match="one of 3 parts"):
        open_gguf_base(tmp_path / "part.gguf")


@pytest.mark.parametrize("architecture", ["gpt2", "qwen2moe", "nothing-known"])
def test_architecture_of_unknown_row_order_is_refused(architecture, tmp_path):
    writer = GGUFWriter(tmp_path / "base.gguf", architecture)
    writer.add_block_count(1)
    writer.add_tensor("token_embd.weight", np.ones((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedError, match=f"architecture '{architecture}'"):
        open_gguf_base(tmp_path / "base.gguf").targets()


def test_nan_is_found_with_its_place(tmp_path):
    writer = GGUFWriter(tmp_path / "base.gguf", "llama")
    table = np.ones((6, 4), np.float16)
    table[5, 2] = np.nan
    writer.add_tensor("token_embd.weight", table)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    base = open_gguf_base(tmp_path / "base.gguf")
    base.rows("token_embd.weight", 0, 5)
    with pytest.raises(CheckpointError, match="NaN or Inf: row 5, column 2"):
        base.rows("token_embd.weight", 3, 6)


def test_header_agrees_with_ggufs_reader(llama_gguf):
    header, reader = read_header(llama_gguf, CheckpointError), GGUFReader(llama_gguf)
    assert [(t.name, t.offset, t.bytes) for t in header.tensors] == [
        (t.name, t.data_offset, t.n_bytes) for t in reader.tensors
    ]

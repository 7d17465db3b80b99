"""A GGUF presented as a Hugging Face checkpoint is the folder that it was made from: weights, configuration, logits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from edgeproof.contracts.errors import CheckpointError, UnsupportedError
from edgeproof.contracts.progress import Silent
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.base.dequantize import dequantize_gguf
from edgeproof.export.base.gguf_checkpoint import GgufCheckpoint, open_gguf_checkpoint
from edgeproof.export.base.gguf_config import gguf_config
from edgeproof.export.base.gguf_file import open_gguf_base
from edgeproof.export.formats import find_format
from edgeproof.export.gguf.writer import GgufWriter
from edgeproof.export.merge.merged import MergedModel
from edgeproof.export.pipeline import ExportOptions, export
from edgeproof.export.stream import run_stream
from edgeproof.export.tokenizer.proof import Proof
from edgeproof.export.tokenizer.traps import TRAPS
from edgeproof_tests import models
from edgeproof_tests.export.onnx.conftest import arrays

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAMILIES = [family for family in models.FAMILIES if family != "lfm2"]
GEMMA = {"gemma2", "gemma3", "gemma3-linear", "gemma3-vision"}
NOT_IN_A_GGUF = {
    "_name_or_path", "transformers_version", "architectures", "_sliding_window_pattern", "sliding_window",
    "max_window_layers", "layer_types", "partial_rotary_factor", "original_max_position_embeddings",
}  # fmt: skip
"""Keys that change nothing, that the layers tell (the window), or that stand in rope_parameters as well."""


@pytest.fixture(scope="module")
def folder_and_gguf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """The Hugging Face folder of a tiny random model, and our own float32 GGUF of it; made on the first call."""
    pytest.importorskip("torch")
    made: dict[str, tuple[Path, Path]] = {}

    def make(family: str) -> tuple[Path, Path]:
        if family not in made:
            root = tmp_path_factory.mktemp(family)
            folder = models.save_model(family, root / "model")
            (exported,) = export(folder, (), ("gguf-f32",), root / "out", threads=1, progress=Silent())
            made[family] = folder, exported.path
        return made[family]

    return make


def plain(name: str) -> str:
    """The tensor's name in the text model by itself."""
    for prefix, replacement in (("model.language_model.", "model."), ("language_model.", "")):
        if name.startswith(prefix):
            return replacement + name.removeprefix(prefix)
    return name


def in_float32(value: Any) -> Any:
    """The value as a GGUF can hold it."""
    if isinstance(value, dict):
        return {key: in_float32(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [in_float32(item) for item in value]
    return float(np.float32(value)) if isinstance(value, float) else value


def configuration(folder: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder).get_text_config()


def presented(checkpoint: Any, target: Path) -> Path:
    """The presented checkpoint's files in a folder, without the weights."""
    target.mkdir()
    (target / "config.json").write_text(json.dumps(dict(checkpoint.config)))
    for name, content in checkpoint.tokenizer_files.items():
        (target / name).write_bytes(content)
    return target


@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_tensors_equal_the_folders_bit_for_bit(family, folder_and_gguf):
    folder, gguf = folder_and_gguf(family)
    original, checkpoint = open_checkpoint(folder), open_gguf_checkpoint(gguf)
    wanted = {plain(name): name for name in original.tensors if "vision" not in name and "multi_modal" not in name}
    assert sorted(checkpoint.tensors) == list(checkpoint.tensors) == sorted(wanted)
    for name, source in wanted.items():
        info = checkpoint.tensors[name]
        assert info.shape == original.tensors[source].shape
        ours, theirs = (side.rows(key, 0, info.rows) for side, key in ((checkpoint, name), (original, source)))
        if family in GEMMA and name.endswith("norm.weight"):
            one = np.float32(1)
            assert np.array_equal(ours + one, theirs + one)
            assert (np.abs(ours - theirs) <= np.spacing(theirs + one) / 2).all()
        else:
            assert np.array_equal(ours, theirs), name


@pytest.mark.torch
@pytest.mark.parametrize("family", ["llama", "llama3", "mistral-head-dim"])
def test_any_range_of_rows_is_a_part_of_the_tensor(family, folder_and_gguf):
    _, gguf = folder_and_gguf(family)
    checkpoint = open_gguf_checkpoint(gguf)
    for name in ("model.layers.1.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight"):
        rows = checkpoint.tensors[name].rows
        whole = checkpoint.rows(name, 0, rows)
        for start, stop in ((0, 1), (1, 2), (rows // 2 - 1, rows // 2 + 1), (3, rows - 5), (rows - 1, rows), (7, 7)):
            part = checkpoint.rows(name, start, stop)
            assert np.array_equal(part, whole[start:stop])
            assert part.flags.c_contiguous
            assert part.flags.owndata or part.base.flags.owndata


@pytest.mark.torch
@pytest.mark.parametrize("family", [family for family in FAMILIES if not family.startswith("mistral")])
def test_the_configuration_is_the_folders_for_transformers(family, folder_and_gguf, tmp_path):
    folder, gguf = folder_and_gguf(family)
    theirs, ours = configuration(folder), configuration(presented(open_gguf_checkpoint(gguf), tmp_path / "presented"))
    assert type(ours) is type(theirs)
    if theirs.dtype is None:
        ours.dtype = None
    a, b = (
        {key: in_float32(value) for key, value in config.to_dict().items() if key not in NOT_IN_A_GGUF}
        for config in (ours, theirs)
    )
    assert a == b
    assert getattr(ours, "layer_types", None) == getattr(theirs, "layer_types", None)
    if "sliding_attention" in (getattr(theirs, "layer_types", None) or ()):
        assert ours.sliding_window == theirs.sliding_window


@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_that_transformers_builds_of_it_gives_the_folders_logits(family, folder_and_gguf, tmp_path, torch):
    from transformers import AutoModelForCausalLM

    folder, gguf = folder_and_gguf(family)
    checkpoint = open_gguf_checkpoint(gguf)
    model = AutoModelForCausalLM.from_config(configuration(presented(checkpoint, tmp_path / "presented"))).eval()
    state = {
        name: torch.from_numpy(checkpoint.rows(name, 0, info.rows).reshape(info.shape))
        for name, info in checkpoint.tensors.items()
    }
    lacking, unexpected = model.load_state_dict(state, strict=False)
    assert unexpected == []
    assert lacking == ([] if not checkpoint.config["tie_word_embeddings"] else ["lm_head.weight"])
    original = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = torch.arange(1, 41).reshape(1, -1) * 7 % 300
    with torch.no_grad():
        ours, theirs = model(input_ids=tokens).logits, original(input_ids=tokens).logits
    if family in GEMMA:
        assert torch.allclose(ours, theirs, atol=1e-4, rtol=0)
    else:
        assert torch.equal(ours, theirs)


@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_its_stream_gives_the_gguf_back_byte_for_byte(family, folder_and_gguf, tmp_path):
    _, gguf = folder_and_gguf(family)
    checkpoint = open_gguf_checkpoint(gguf)
    description = checkpoint.describe_gguf()
    writer = GgufWriter(description, tmp_path / "again.gguf", find_format("gguf-f32").scheme)
    run_stream(checkpoint, [writer], description, threads=1, progress=Silent())
    assert (tmp_path / "again.gguf").read_bytes() == gguf.read_bytes()


@pytest.mark.blas
@pytest.mark.torch
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "gemma3"])
@pytest.mark.parametrize("targets", [["q_proj", "k_proj", "down_proj"], ["v_proj", "lm_head"]])
def test_a_merge_over_it_gives_the_gguf_that_a_merge_over_the_gguf_gives(
    family, targets, folder_and_gguf, make_adapter, tmp_path
):
    folder, gguf = folder_and_gguf(family)
    adapter = load_adapter(make_adapter(folder, target_modules=targets))
    base, checkpoint = open_gguf_base(gguf), open_gguf_checkpoint(gguf)
    written = []
    for name, merged, describe in (
        ("hf", MergedModel(checkpoint, [adapter]), checkpoint.describe_gguf),
        ("gguf", MergedModel(base, [adapter], base.targets()), base.describe),
    ):
        if family == "gemma2" and "lm_head" in targets:
            with pytest.raises(UnsupportedError, match="gemma2 has one table for both"):
                describe(merged.tensors)
            continue
        description = describe(merged.tensors)
        writer = GgufWriter(description, tmp_path / f"{name}.gguf", find_format("gguf-f32").scheme)
        run_stream(merged, [writer], description, threads=1, progress=Silent())
        written.append(open_gguf_base(tmp_path / f"{name}.gguf"))
    if not written:
        return
    ours, theirs = written
    assert list(ours.tensors.values()) == list(theirs.tensors.values())
    assert ours.metadata == theirs.metadata
    for name, info in ours.tensors.items():
        assert np.array_equal(ours.rows(name, 0, info.rows), theirs.rows(name, 0, info.rows)), name


@pytest.mark.torch
@pytest.mark.parametrize(("stored", "dtype"), [("f16", "float16"), ("f32", "float32")])
def test_the_stored_type_is_told(stored, dtype, folder_and_gguf, tmp_path):
    _, gguf = folder_and_gguf("llama")
    dequantize_gguf(gguf, tmp_path / "copy.gguf", float_type=stored)
    checkpoint = open_gguf_checkpoint(tmp_path / "copy.gguf")
    assert checkpoint.config["torch_dtype"] == dtype
    assert checkpoint.tensors["model.embed_tokens.weight"].dtype == stored.upper()


@pytest.mark.torch
def test_the_tokenizers_files_are_those_of_the_folder_in_effect(folder_and_gguf, tmp_path):
    from transformers import AutoTokenizer, GenerationConfig

    folder, gguf = folder_and_gguf("llama")
    checkpoint = open_gguf_checkpoint(gguf, texts=["the is in"])
    target = presented(checkpoint, tmp_path / "presented")
    ours, theirs = AutoTokenizer.from_pretrained(target), AutoTokenizer.from_pretrained(folder)
    assert ours(list(TRAPS))["input_ids"] == theirs(list(TRAPS))["input_ids"]
    assert [ours.decode(ours(text)["input_ids"]) for text in TRAPS] == list(TRAPS)
    assert ours.chat_template == theirs.chat_template
    assert (ours.eos_token, ours.pad_token, ours.bos_token) == (theirs.eos_token, theirs.pad_token, theirs.bos_token)
    assert GenerationConfig.from_pretrained(target).eos_token_id == [models.VOCABULARY - 1]
    assert checkpoint.proof.texts > len(TRAPS)


def edited(gguf: Path, target: Path, *, without: str = "", shapes: Any = None, **metadata: Any) -> Path:
    """A copy of a GGUF with other metadata (`a__b` for a.b; None removes), without a tensor, or with more of them."""
    from gguf import GGUFValueType, GGUFWriter

    base = open_gguf_base(gguf)
    changes = {key.replace("__", "."): value for key, value in metadata.items()}
    architecture = changes.pop("general.architecture", base.architecture)
    writer = GGUFWriter(target, architecture)
    kinds = {
        bool: GGUFValueType.BOOL,
        int: GGUFValueType.UINT32,
        float: GGUFValueType.FLOAT32,
        str: GGUFValueType.STRING,
    }
    for entry in base.metadata:
        if entry.key == "general.architecture" or entry.key in changes:
            continue
        item = None if entry.item_kind is None else GGUFValueType[entry.item_kind]
        writer.add_key_value(entry.key, entry.value, GGUFValueType[entry.kind], item)
    for key, value in changes.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif value is not None:
            writer.add_key_value(key, value, kinds[type(value)])
    for name, info in base.tensors.items():
        if name != without:
            writer.add_tensor(name, base.rows(name, 0, info.rows).reshape(info.shape))
    for name, shape in (shapes or {}).items():
        writer.add_tensor(name, np.full(shape, 3, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.mark.torch
@pytest.mark.parametrize(
    ("family", "changes", "error", "message"),
    [
        ("llama", {"general__architecture": "granite"}, UnsupportedError, "of the architecture 'granite'"),
        ("llama", {"llama__expert_count": 8}, UnsupportedError, "llama.expert_count is 8; mixtures of experts"),
        ("llama", {"llama__attention__causal": False}, UnsupportedError, "only causal models"),
        ("llama", {"llama__logit_scale": 0.5}, UnsupportedError, r"no known meaning .* llama.logit_scale = 0.5"),
        ("llama", {"llama__rope__scaling__type": "longrope"}, UnsupportedError, "is 'longrope'; supported: none"),
        ("llama", {"llama__rope__scaling__factor": 8.0}, UnsupportedError, "is 8.0; no scaling is named"),
        ("llama", {"llama__rope__dimension_count": 32}, UnsupportedError, "these classes rotate all"),
        ("llama", {"llama__attention__value_length": 32}, UnsupportedError, "keys have 64 values a head"),
        ("llama", {"llama__vocab_size": 999}, UnsupportedError, "token_embd.weight has 384 rows"),
        ("llama", {"llama__context_length": None}, CheckpointError, "llama.context_length is missing"),
        ("llama", {"llama__context_length": "long"}, CheckpointError, "llama.context_length is 'long', not one whole"),
        ("llama", {"llama__attention__head_count": 3}, CheckpointError, "3 attention heads for 256 values"),
        ("llama", {"llama__attention__head_count_kv": [1, 2]}, CheckpointError, "one whole number for all layers"),
        ("llama", {"llama__attention__head_count_kv": 1}, CheckpointError, "attn_k.weight is .128, 256.; .* .64, 256."),
        ("llama", {"llama__attention__layer_norm_rms_epsilon": 0.0}, CheckpointError, "not a number above 0"),
        ("llama", {"llama__block_count": 3}, CheckpointError, "lacks 9 of 30 tensors .* blk.2.attn_norm.weight"),
        ("llama", {"without": "blk.1.ffn_up.weight"}, CheckpointError, "lacks 1 of 21 tensors .* blk.1.ffn_up.weight"),
        ("llama", {"without": "token_embd.weight"}, CheckpointError, "has no token_embd.weight"),
        ("llama", {"shapes": {"blk.0.attn_q.bias": (256,)}}, CheckpointError, "lacks 7 of 29"),
        ("llama", {"shapes": {"blk.0.ffn_gate_inp.weight": (4, 256)}}, UnsupportedError, "no place for 1 tensors"),
        ("llama", {"shapes": {"rope_freqs.weight": (32,)}}, UnsupportedError, "match no known llama3 scaling"),
        ("gemma2", {"gemma2__rope__freq_base": 5000.0}, UnsupportedError, "gemma2.rope.freq_base is 5000.0"),
        ("phi3-longrope", {"phi3__rope__scaling__attn_factor": 1.5}, UnsupportedError, "attn_factor is 1.5; longrope"),
        ("llama", {"tokenizer__ggml__model": "bert"}, UnsupportedError, "tokenizer is of the kind 'bert'"),
        ("llama", {"tokenizer__ggml__pre": "command-r"}, UnsupportedError, "pre-tokenizer 'command-r' is unknown"),
    ],
)  # fmt: skip
def test_what_a_hugging_face_class_cannot_say_is_refused(family, changes, error, message, folder_and_gguf, tmp_path):
    _, gguf = folder_and_gguf(family)
    with pytest.raises(error, match=message) as caught:
        open_gguf_checkpoint(edited(gguf, tmp_path / "edited.gguf", **changes))
    assert caught.value.next_step


@pytest.mark.torch
@pytest.mark.parametrize("family", ["llama3", "gemma3-linear", "phi3-longrope"])
def test_no_flipped_byte_of_the_head_ends_in_anything_but_our_errors(family, folder_and_gguf, tmp_path):
    _, gguf = folder_and_gguf(family)
    whole = gguf.read_bytes()
    # Keys of the architecture and names of tensors; the vocabulary between them is the tokenizer's tests' affair.
    places = [*range(24, whole.index(b"tokenizer.ggml.model")), *range(*tensor_names(gguf))]
    rng = np.random.default_rng(7)
    for _ in range(150):
        broken = bytearray(whole)
        broken[rng.choice(places)] = rng.integers(256)
        path = tmp_path / "flipped.gguf"
        path.write_bytes(broken)
        try:
            base = open_gguf_base(path, allow_requantize=True)
            checkpoint = GgufCheckpoint(base, gguf_config(base), {}, Proof(0, 0, 0, 0, False, ()))  # noqa: FBT003
            checkpoint.describe_gguf()
        except (CheckpointError, UnsupportedError):
            pass


def tensor_names(gguf: Path) -> tuple[int, int]:
    """Where the list of tensors begins and ends."""
    base = open_gguf_base(gguf)
    whole = gguf.read_bytes()
    places = [whole.rindex(name.encode()) for name in base.tensors]
    return min(places) - 8, max(places) + 60


@pytest.mark.torch
def test_lfm2_is_refused_by_name(tmp_path):
    pytest.importorskip("torch")
    folder = models.save_model("lfm2", tmp_path / "model")
    (exported,) = export(folder, (), ("gguf-f32",), tmp_path / "out", threads=1, progress=Silent())
    with pytest.raises(UnsupportedError, match=r"architecture 'lfm2'; .* llama, qwen2, qwen3, gemma2, gemma3, phi3"):
        open_gguf_checkpoint(exported.path)


@pytest.mark.torch
def test_a_quantized_file_is_refused_unless_asked_for(folder_and_gguf, tmp_path):
    folder, _ = folder_and_gguf("llama")
    (exported,) = export(folder, (), ("gguf-q8_0",), tmp_path, threads=1, progress=Silent())
    with pytest.raises(UnsupportedError, match="is quantized"):
        open_gguf_checkpoint(exported.path)
    checkpoint = open_gguf_checkpoint(exported.path, allow_requantize=True)
    assert checkpoint.config["torch_dtype"] == "float32"
    name = "model.layers.0.self_attn.q_proj.weight"
    ours, theirs = (side.rows(name, 0, 256) for side in (checkpoint, open_checkpoint(folder)))
    assert np.abs(ours - theirs).max() < 0.01


@pytest.mark.slow
@pytest.mark.torch
def test_smollm2s_own_gguf_is_what_transformers_reads_of_it(smollm2_gguf, tmp_path):
    transformers = pytest.importorskip("transformers")
    import torch

    dequantize_gguf(smollm2_gguf, tmp_path / "base.gguf")
    checkpoint = open_gguf_checkpoint(tmp_path / "base.gguf")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        smollm2_gguf.parent,
        gguf_file=smollm2_gguf.name,
        quantization_config=transformers.GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    state = {name: value for name, value in theirs.state_dict().items() if name != "lm_head.weight"}
    assert sorted(state) == list(checkpoint.tensors)
    for name, value in state.items():
        info = checkpoint.tensors[name]
        assert np.array_equal(checkpoint.rows(name, 0, info.rows).reshape(info.shape), value.numpy()), name
    for key, value in checkpoint.config.items():
        if key not in {"architectures", "torch_dtype", "rope_theta", "rope_scaling", "rms_norm_eps"}:
            assert getattr(theirs.config, key) == value, key
    assert theirs.config.rope_parameters["rope_theta"] == checkpoint.config["rope_theta"]


@pytest.mark.blas
@pytest.mark.torch
@pytest.mark.parametrize("family", ["llama", "llama-biases", "llama3", "qwen2", "gemma3", "phi3-longrope"])
def test_onnx_from_a_gguf_is_onnx_from_its_folder(family, folder_and_gguf, tmp_path):
    pytest.importorskip("onnx")
    folder, gguf = folder_and_gguf(family)
    made = []
    for name, base in (("folder", folder), ("gguf", gguf)):
        options = ExportOptions(name="tiny")
        (exported,) = export(base, (), ("onnx-int4",), tmp_path / name, options, threads=1, progress=Silent())
        made.append(exported.path)
    if family in GEMMA:  # norms are within half an ulp of w + 1
        theirs, ours = (arrays(path) for path in made)
        assert ours.keys() == theirs.keys()
        for name, values in theirs.items():
            if "norm" in name:
                assert (np.abs(ours[name] - values) <= np.spacing(np.abs(values) + 1) / 2).all(), name
            else:
                assert np.array_equal(ours[name], values), name
    else:
        theirs, ours = ((path / "model.onnx.data").read_bytes() for path in made)
        assert ours == theirs
    configs = [json.loads((path / "genai_config.json").read_text())["model"] for path in made]
    assert [configs[1][key] for key in ("type", "vocab_size", "context_length", "decoder")] == [
        configs[0][key] for key in ("type", "vocab_size", "context_length", "decoder")
    ]


@pytest.mark.blas
@pytest.mark.torch
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_both_kinds_in_one_pass_are_what_each_is_alone(family, folder_and_gguf, make_adapter, tmp_path):
    pytest.importorskip("onnx")
    folder, gguf = folder_and_gguf(family)
    adapter = make_adapter(folder, target_modules=["q_proj", "k_proj", "v_proj", "down_proj"])
    options = ExportOptions(name="tiny")

    def made(formats: tuple[str, ...], where: str) -> dict[str, Path]:
        done = export(gguf, [adapter], formats, tmp_path / where, options, threads=1, progress=Silent())
        return {item.format: item.path for item in done}

    both = made(("gguf-f32", "onnx-int4"), "both")
    alone = made(("onnx-int4",), "onnx") | made(("gguf-f32",), "gguf")
    for name in ("model.onnx", "model.onnx.data", "genai_config.json", "tokenizer.json"):
        assert (both["onnx-int4"] / name).read_bytes() == (alone["onnx-int4"] / name).read_bytes()
    ours, theirs = open_gguf_base(both["gguf-f32"]), open_gguf_base(alone["gguf-f32"])
    assert ours.metadata == theirs.metadata
    assert ours.tensors == theirs.tensors
    for name, info in ours.tensors.items():
        assert np.array_equal(ours.rows(name, 0, info.rows), theirs.rows(name, 0, info.rows)), name

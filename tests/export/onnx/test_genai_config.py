"""genai_config.json is the builder's, from whichever file the special tokens come."""

from __future__ import annotations

import json

import pytest
from edgeproof.contracts.errors import CheckpointError
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.onnx.description import describe_onnx
from edgeproof.export.onnx.genai_config import genai_config
from edgeproof.export.onnx.tokenizer_files import read_tokenizer_files
from edgeproof_tests.export.onnx.conftest import VARIANTS, run_builder
from edgeproof_tests.models import END, save_model

pytestmark = pytest.mark.torch

PLAIN = ("num_hidden_layers",)


def ours(folder):
    return genai_config(describe_onnx(open_checkpoint(folder), read_tokenizer_files(folder)))


def theirs(folder, out):
    run_builder(folder, out, "int4", ["windowed_kv_cache=false"])
    return json.loads((out / "genai_config.json").read_text())


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "qwen2-yarn"])
def test_the_configuration_is_the_builders(variant, tiny, tmp_path):
    pytest.importorskip("onnxruntime_genai")
    assert ours(tiny(variant)) == theirs(tiny(variant), tmp_path)


@pytest.fixture
def folder(tmp_path):
    return save_model(
        "llama", tmp_path / "tiny", hidden_size=64, intermediate_size=64, num_attention_heads=2, num_key_value_heads=1
    )


def change(path, **changes) -> None:
    values = json.loads(path.read_text()) if path.is_file() else {}
    values |= changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


@pytest.mark.parametrize(
    "changes",
    [
        {"config.json": {"bos_token_id": 7, "eos_token_id": [5, 6]}},
        {"generation_config.json": {"eos_token_id": [5, 383], "bos_token_id": 3, "pad_token_id": 9}},
        {"generation_config.json": {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20}},
        {"config.json": {"eos_token_id": 5}, "generation_config.json": {"eos_token_id": None}},
        {"config.json": {"pad_token_id": None}, "generation_config.json": {"pad_token_id": None}},
        {"tokenizer_config.json": {"bos_token": "Ġt", "eos_token": "<unused3>"}},
    ],
    ids=["config.json", "generation_config.json", "sampling", "turn end", "no padding", "tokenizer"],
)
def test_tokens_and_settings_come_from_where_the_builder_takes_them(changes, folder, tmp_path):
    pytest.importorskip("onnxruntime_genai")
    for file, values in changes.items():
        change(folder / file, **values)
    assert ours(folder) == theirs(folder, tmp_path / "out")


def test_no_token_that_starts_a_text_is_not_null(folder):
    assert json.loads((folder / "config.json").read_text()).get("bos_token_id") is None
    assert ours(folder)["model"]["bos_token_id"] == 1


def test_the_end_of_a_turn_is_among_the_ends(folder):
    change(folder / "config.json", eos_token_id=5)
    (folder / "generation_config.json").unlink()
    assert ours(folder)["model"]["eos_token_id"] == [383, 5]
    assert json.loads((folder / "tokenizer_config.json").read_text())["eos_token"] == END


def test_a_text_that_could_never_end_is_refused(folder):
    (folder / "generation_config.json").unlink()
    change(folder / "config.json", eos_token_id=None)
    change(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(CheckpointError, match="a text would never end"):
        ours(folder)

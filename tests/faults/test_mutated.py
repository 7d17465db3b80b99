"""Mutations of inputs that once went through; benchmarks/faults finds them."""

from __future__ import annotations

import json
import shutil

import pytest
from edgeproof.contracts.errors import (
    AdapterError,
    BaselineError,
    CheckpointError,
    InputError,
    PackError,
    PolicyError,
    TokenizerError,
)
from edgeproof.contracts.progress import Silent
from edgeproof.eval.attestation import read_private_key
from edgeproof.eval.baselines.file import load_baselines
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.verdict.policy import read_policy
from edgeproof.export.adapter.config import read_config
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.pipeline import export
from edgeproof.export.tokenizer.chat_template import read_chat_templates
from edgeproof.export.tokenizer.checkpoint_tokenizer import load_encode
from edgeproof.export.tokenizer.definition import read_definition
from edgeproof_tests.export.tokenizer.folders import sentencepiece_model

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(("key", "value"), [("normalizer", "x"), ("padding", 2), ("decoder", {"type": "Unknown"})])
def test_an_onnx_folder_with_a_tokenizer_that_no_engine_can_load_is_not_written(base, tmp_path, key, value):
    folder = shutil.copytree(base, tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(content | {key: value}))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json cannot be loaded"):
        export(folder, [], ["onnx-int4"], tmp_path / "out", progress=Silent(), threads=1)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_sentencepiece_model_that_its_library_refuses_is_told(tmp_path):
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁a", "▁a"]
    types = [2, 3, 3, *[6] * 256, 1, 1]
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model(pieces, [0.0] * len(pieces), types))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": len(pieces)}))
    with pytest.raises(TokenizerError, match=r"tokenizer\.model cannot be loaded: .*already defined"):
        load_encode(read_definition(tmp_path))


def test_a_device_in_the_place_of_a_config_is_not_read_to_its_end(tmp_path):
    for name in ("config.json", "adapter_config.json"):
        (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match=r"config\.json: it is a device"):
        open_checkpoint(tmp_path)
    with pytest.raises(AdapterError, match=r"adapter_config\.json: it is a device"):
        read_config(tmp_path)
    for read, error in ((load_baselines, BaselineError), (read_policy, PolicyError), (read_private_key, InputError)):
        with pytest.raises(error, match="it is a device"):
            read(tmp_path / "config.json")


def test_a_shard_that_is_a_link_to_itself_is_missing(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "x.safetensors").symlink_to(folder / "x.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"lm_head.weight": "x.safetensors"}}')
    with pytest.raises(CheckpointError, match="is missing"):
        open_checkpoint(folder)


def test_a_packs_file_that_is_a_link_to_itself_is_missing(tmp_path):
    (tmp_path / "pack.toml").symlink_to(tmp_path / "pack.toml")
    with pytest.raises(PackError, match=r"pack\.toml"):
        load_pack(tmp_path)
    (tmp_path / "pack.toml").unlink()
    text = 'schema = 1\nname = "n"\nlicence = "x"\n[[set]]\nrole = "forget"\nfile = "f.jsonl"\nformat = "jsonl"\n'
    (tmp_path / "pack.toml").write_text(text)
    (tmp_path / "f.jsonl").symlink_to(tmp_path / "f.jsonl")
    with pytest.raises(PackError, match=r"f\.jsonl"):
        load_pack(tmp_path)


@pytest.mark.parametrize("place", ["chat_template.jinja", "additional_chat_templates/tools.jinja"])
def test_a_chat_template_that_is_no_text_is_told(base, tmp_path, place):
    folder = shutil.copytree(base, tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "additional_chat_templates").mkdir()
    for name in ("chat_template.jinja", place):
        (folder / name).write_bytes(b"{{ messages[0].content }}")
    (folder / place).write_bytes(b"{{ messages[0].content }}\x93")
    with pytest.raises(TokenizerError, match=f"{place} cannot be read: .* can't decode byte 0x93"):
        read_chat_templates(read_definition(folder))

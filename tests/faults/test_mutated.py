"""Mutations of inputs that once went through; benchmarks/faults finds them."""

from __future__ import annotations

import json
import shutil

import pytest
from edgeproof.contracts.errors import TokenizerError
from edgeproof.contracts.progress import Silent
from edgeproof.export.pipeline import export
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

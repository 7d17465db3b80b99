"""Paths of any bytes are paths."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.export.pipeline import export
from edgeproof.runtime import open_backend
from edgeproof.runtime.onnxruntime.tokenizer import Tokenizer


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' paths are Unicode")
@pytest.mark.torch
def test_a_folder_whose_name_is_no_utf_8_holds_a_base_and_what_is_made_of_it(base, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(base, folder / "tiny")
    made = export(folder / "tiny", [], ("gguf-q8_0", "onnx-int8"), folder, progress=Silent(), threads=1)
    gguf, onnx = (item.path for item in made)
    with open_backend("llama.cpp", gguf, threads=1) as engine:
        assert engine.tokenize("a", special=False)
    assert Tokenizer(onnx).size

"""Paths of any bytes are paths."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from edgeproof.contracts.errors import InputError
from edgeproof.contracts.progress import Silent
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.pipeline import export
from edgeproof.runtime import open_backend
from edgeproof.runtime.onnxruntime.tokenizer import Tokenizer
from edgeproof.unlearn.base_model import load_base


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' paths are Unicode")
@pytest.mark.torch
def test_a_folder_whose_name_is_no_utf_8_holds_a_base_and_what_is_made_of_it(base, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(base, folder / "tiny")
    command = ["export-edge", "--base", str(folder / "tiny")]
    made = export(
        folder / "tiny", [], ("gguf-q8_0", "onnx-int8"), folder, progress=Silent(), threads=1, command=command
    )
    gguf, onnx = (item.path for item in made)
    with open_backend("llama.cpp", gguf, threads=1) as engine:
        assert engine.tokenize("a", special=False)
    assert Tokenizer(onnx).size


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' paths are Unicode")
@pytest.mark.torch
@pytest.mark.parametrize("what", ["export", "unlearn", "adapter"])
def test_a_base_or_an_adapter_whose_own_name_is_no_utf_8_is_refused(base, tmp_path, what):
    named = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(base, named)
    begin = {
        "export": lambda: export(named, [], ("gguf-q8_0",), tmp_path / "out", progress=Silent(), threads=1),
        "unlearn": lambda: load_base(named, Silent()),
        "adapter": lambda: load_adapter(named),
    }
    with pytest.raises(InputError, match="is not UTF-8"):
        begin[what]()
    assert not list(tmp_path.glob("out/*"))

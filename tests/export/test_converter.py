"""The user's own converter, run on the merge, gives what our own description gives; where it fails, it is heard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from edgeproof.contracts.errors import CheckpointError, InputError, OutputError, UnsupportedError, UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.artifact.merged_folder import write_merged_folder
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.converter import INTERPRETER, SCRIPT, find_script
from edgeproof.export.merge.merged import MergedModel
from edgeproof.export.pipeline import Exported, ExportOptions, export
from edgeproof_tests.export.conftest import peft_merge
from edgeproof_tests.export.tokenizer.folders import build
from edgeproof_tests.models import random_model, save_model, tiny_config

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torch, pytest.mark.blas]

SMALL = {"hidden_size": 64, "intermediate_size": 128}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_model("llama", tmp_path_factory.mktemp("base") / "tiny", **SMALL)


@pytest.fixture(scope="module")
def adapter(base, make_adapter) -> Path:
    return make_adapter(base)


def checkout(folder: Path, script: str) -> Path:
    folder.mkdir()
    (folder / SCRIPT).write_text(script)
    return folder


def through(converter: Path, base: Path, adapters: list[Path], out: Path, *formats: str) -> tuple[Exported, ...]:
    options = ExportOptions(converter=converter)
    return export(base, adapters, formats or ["gguf-q8_0"], out, options, threads=1, progress=Silent())


def read(path: Path) -> tuple[dict[str, tuple[str, bytes]], dict[str, Any]]:
    from gguf import GGUFReader

    reader = GGUFReader(path)
    tensors = {tensor.name: (tensor.tensor_type.name, tensor.data.tobytes()) for tensor in reader.tensors}
    return tensors, {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}


@pytest.mark.slow
@pytest.mark.official
def test_llama_cpps_converter_gives_the_tensors_and_the_metadata_of_our_own_description(
    official, make_adapter, tmp_path
):
    vocabulary = build("llama2", tmp_path / "vocabulary")
    base = tmp_path / "tiny-llama"
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None, "vocab_size": 32000}
    random_model(tiny_config("llama", num_hidden_layers=1, **SMALL, **special)).save_pretrained(base)
    for path in vocabulary.iterdir():
        if path.name != "config.json":
            (base / path.name).write_bytes(path.read_bytes())
    adapters = [make_adapter(base, use_rslora=True)]
    formats = ("gguf-f32", "gguf-q4_0")
    theirs = through(official.source.tree, base, adapters, tmp_path / "theirs", *formats)
    ours = export(base, adapters, formats, tmp_path / "ours", threads=1, progress=Silent())
    for one, other in zip(ours, theirs, strict=True):
        assert one.path.name == other.path.name
        tensors, metadata = read(one.path)
        expected, reference = read(other.path)
        assert tensors == expected
        assert metadata == reference
        assert other.manifest.options["converter"] is True
        assert other.manifest.tokenizer["files"] == one.manifest.tokenizer["files"]
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == sorted(
        path.name for path in (tmp_path / "ours").iterdir()
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_merged_folder_is_pefts_merge(dtype, make_adapter, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    base = save_model("qwen3", tmp_path / "base", dtype=dtype, **SMALL)
    (base / "pytorch_model.bin").write_bytes(b"old weights")
    adapter = make_adapter(base, use_dora=True)
    target = tmp_path / "merged"
    target.mkdir()
    write_merged_folder(MergedModel(open_checkpoint(base), [load_adapter(adapter)]), base, target, progress=Silent())
    assert json.loads((target / "config.json").read_text())["torch_dtype"] == "float32"
    assert (target / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert not (target / "pytorch_model.bin").exists()
    loaded = AutoModelForCausalLM.from_pretrained(target)
    assert loaded.dtype == torch.float32
    expected = peft_merge(base, [adapter])
    for name, values in loaded.state_dict().items():
        np.testing.assert_allclose(values.numpy(), expected[name], rtol=2e-6, atol=2e-7, err_msg=name)
    untouched = "model.layers.0.input_layernorm.weight"
    assert np.array_equal(loaded.state_dict()[untouched].numpy(), expected[untouched])


def test_the_converter_finds_the_merge_from_relative_paths(base, adapter, tmp_path, monkeypatch):
    script = (
        "import pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "names = sorted(path.name for path in folder.iterdir())\n"
        "sys.exit(f'{folder.name}: {names}; out in a folder: {pathlib.Path(sys.argv[3]).parent.is_dir()}')\n"
    )
    checkout(tmp_path / "llama.cpp", script)
    monkeypatch.chdir(tmp_path)
    relative = type(tmp_path)
    with pytest.raises(UnsupportedError, match=r"tiny: \[.*'model.safetensors'.*\]; out in a folder: True"):
        through(relative("llama.cpp"), base, [adapter], relative("out"))


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("print('one'); raise SystemExit('no such architecture: fancy')", UnsupportedError, "fancy"),
        (
            "print('all went well')",
            UnsupportedError,
            "exit code 0 and no usable file(.|\n)*all went well",
        ),
        ("import os; os.kill(os.getpid(), 9)", UnsupportedError, "exit code 137"),
        ("import sys; open(sys.argv[3], 'wb').write(b'GGUF but cut')", CheckpointError, "GGUF"),
    ],
    ids=["error", "no file", "killed", "damaged file"],
)
def test_a_failing_converter_is_heard_and_leaves_nothing(script, error, message, base, adapter, tmp_path):
    with pytest.raises(error, match=message):
        through(checkout(tmp_path / "llama.cpp", script), base, [adapter], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_its_next_step_names_what_can_be_tried(base, adapter, tmp_path):
    with pytest.raises(UnsupportedError) as failed:
        through(checkout(tmp_path / "llama.cpp", "raise SystemExit(1)"), base, [adapter], tmp_path / "out")
    assert "requirements.txt" in failed.value.next_step
    assert INTERPRETER in failed.value.next_step


def test_the_interpreter_is_the_one_that_was_named(base, adapter, tmp_path, monkeypatch):
    monkeypatch.setenv(INTERPRETER, str(tmp_path / "no-python"))
    with pytest.raises(InputError, match="no-python does not start"):
        through(checkout(tmp_path / "llama.cpp", ""), base, [adapter], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_idle_adapter_is_refused_before_the_converter_is_run(base, tmp_path):
    import peft
    from edgeproof_tests.export.conftest import Quiet, load

    folder = tmp_path / "fresh"
    with Quiet():
        options = peft.LoraConfig(r=4, target_modules=["q_proj"], use_dora=True, init_lora_weights=True)
        peft.get_peft_model(load(base), options).save_pretrained(folder)
    script = checkout(tmp_path / "llama.cpp", "raise SystemExit('it was run')")
    with pytest.raises(InputError, match="the merged model equals its base"):
        through(script, base, [folder], tmp_path / "out")


def test_what_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is not a llama\.cpp checkout"):
        find_script(tmp_path)


def test_a_gguf_needs_no_converter(base, tmp_path):
    (item,) = export(base, [], ["gguf-f32"], tmp_path / "base", threads=1, progress=Silent())
    with pytest.raises(UsageError, match="is a file"):
        through(checkout(tmp_path / "llama.cpp", ""), item.path, [], tmp_path / "out")


def test_a_merged_folder_that_cannot_be_written_says_how_much_room_it_needs(base, tmp_path):
    model = MergedModel(open_checkpoint(base), [])
    with pytest.raises(OutputError, match=r"cannot write the merged checkpoint \(\d+ MB\)") as failed:
        write_merged_folder(model, base, tmp_path / "missing", progress=Silent())
    assert "two float32 checkpoints" in failed.value.next_step

"""What a file or a stream can hold is told as an error of that file: nothing here is an internal error."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys

import pytest
from edgeproof.contracts.errors import EdgeproofError, OutputError
from edgeproof.contracts.parsing import DEEPEST, parse_json, parse_toml
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.artifact.data_file import data_failed, removed_on_failure
from edgeproof.export.artifact.manifest import manifest_path, read_provenance
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.onnx.tokenizer_files import read_tokenizer_files
from edgeproof.export.tokenizer.definition import read_definition

DEPTHS = [DEEPEST + 1, 990, 100_000]


def nested(depth):
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize("depth", DEPTHS)
def test_what_is_nested_too_deeply_is_no_json_and_no_toml(depth):
    for text in (nested(depth), "[" * depth + "]" * depth):
        with pytest.raises(ValueError, match="levels deep"):
            parse_json(text)
    with pytest.raises(ValueError, match="levels deep"):
        parse_toml("a = " + "[" * depth + "]" * depth)


def test_a_hundred_levels_are_read():
    assert parse_json(nested(DEEPEST))
    assert parse_toml("a = " + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))


@pytest.mark.torch
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "tokenizer.json", "model.safetensors"])
def test_a_model_with_deep_json_is_refused(base, tmp_path, name, depth):
    folder = shutil.copytree(base, tmp_path / "model")
    if name.endswith("index.json"):
        (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    if name == "model.safetensors":
        header = nested(depth).encode()
        (folder / name).write_bytes(len(header).to_bytes(8, "little") + header)
    else:
        (folder / name).write_text(nested(depth))
    read = read_definition if name == "tokenizer.json" else open_checkpoint
    with pytest.raises(EdgeproofError, match=name.partition(".")[0]) as caught:
        read(folder)
    assert caught.value.next_step


@pytest.mark.parametrize("depth", DEPTHS)
def test_deep_json_in_an_adapter_a_manifest_and_deep_toml_in_a_policy_and_a_pack_are_refused(tmp_path, depth):
    from edgeproof.contracts.onnx_folder import read_json
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.eval.verdict.policy import read_policy
    from edgeproof.export.adapter.config import read_config

    for name in ("adapter_config.json", "genai_config.json", "policy.toml", "pack.toml"):
        (tmp_path / name).write_text(nested(depth) if name.endswith("json") else "a = " + "[" * depth + "]" * depth)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    manifest_path(tmp_path / "model.gguf").write_text(nested(depth))
    for read in (
        lambda: read_config(tmp_path),
        lambda: read_json(tmp_path / "genai_config.json"),
        lambda: read_policy(tmp_path / "policy.toml"),
        lambda: load_pack(tmp_path),
        lambda: read_provenance(tmp_path / "model.gguf", "0" * 64),
    ):
        with pytest.raises(EdgeproofError):
            read()


@pytest.mark.torch
@pytest.mark.parametrize("shard", ["model\0.safetensors", "\0", "m" * 300 + ".safetensors"])
def test_a_shards_name_that_is_none_is_refused(base, tmp_path, shard):
    folder = shutil.copytree(base, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": shard}}))
    with pytest.raises(EdgeproofError, match="names the shard"):
        open_checkpoint(folder)


@pytest.mark.torch
@pytest.mark.parametrize("value", [[], {}, [1], {"a": 1}])
def test_init_lora_weights_of_another_type_is_refused_or_ignored(base, make_adapter, tmp_path, value):
    folder = shutil.copytree(make_adapter(base), tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"init_lora_weights": value}))
    with pytest.raises(EdgeproofError, match="init_lora_weights"):
        load_adapter(folder)


@pytest.mark.torch
@pytest.mark.parametrize("part", ["pre_tokenizer", "normalizer", "post_processor"])
@pytest.mark.parametrize("value", [[], "x", {"type": "Sequence", "pretokenizers": [[]], "normalizers": 1}])
def test_a_tokenizers_part_of_another_type_is_refused(base, tmp_path, part, value):
    folder = shutil.copytree(base, tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(content | {part: value}))
    with pytest.raises(EdgeproofError, match=part):
        read_definition(folder)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_half_of_a_surrogate_pair_in_a_tokenizers_settings_is_refused(base, tmp_path, name, text):
    folder = shutil.copytree(base, tmp_path / "model")
    whole = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "\U0001f600"}
    (folder / name).write_text(json.dumps(whole))  # an emoji, escaped as a pair
    read_tokenizer_files(folder)
    (folder / name).write_text(json.dumps(whole | {"pad_token": text}))
    with pytest.raises(EdgeproofError, match=f"{name} has .*half of a surrogate pair"):
        read_tokenizer_files(folder)


def into_a_closed_pipe(*arguments):
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-P", "-m", "edgeproof.cli", *map(str, arguments)]
        return subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(write)


@pytest.mark.torch
def test_json_that_nobody_reads_is_told_as_such(base, tmp_path):
    formats = ("--format", "gguf-q8_0", "--threads", 1, "--quiet", "--json")
    for arguments in (("--version",), ("--help",), ("--base", base, "--out", tmp_path, *formats)):
        done = into_a_closed_pipe(*arguments)
        assert done.returncode == 3
        assert "nobody reads what is written" in done.stderr
        assert "Traceback" not in done.stderr
        assert "→" in done.stderr


def test_a_full_disk_is_told_with_the_space_that_was_free_when_it_was_full(tmp_path, monkeypatch):
    """The unfinished file is removed only then: its space is free again afterwards."""
    usage, free = shutil.disk_usage(tmp_path), [10]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free[0]))
    full = OSError(errno.ENOSPC, "No space left on device")

    def failing():
        with removed_on_failure(lambda: free.append(free.pop() + 10**6), lambda error: data_failed(target, error, 500)):
            raise full

    target = tmp_path / "model.gguf"
    with pytest.raises(OutputError, match=r"needs 500 bytes; 10 bytes are free"):
        failing()
    assert free == [10**6 + 10], "it was removed"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_for_another_reason_than_space_does_not_say_that_space_lacks(tmp_path, number):
    told = data_failed(tmp_path / "model.gguf", OSError(number, os.strerror(number)), 5)
    assert os.strerror(number) in told.message
    assert "needs" not in told.message
    assert "although" in told.message
    assert "quotas" in told.next_step


@pytest.mark.torch
def test_the_engine_leaves_no_session_file_in_the_temporary_folder(base, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from edgeproof.contracts.progress import Silent
    from edgeproof.export.pipeline import export
    from edgeproof.runtime import open_backend

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    (made,) = export(base, [], ["onnx-int4"], tmp_path / "out", progress=Silent(), threads=1)
    with open_backend("onnxruntime", made.path, threads=1) as engine:
        assert engine.info.vocabulary
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said"), [(errno.EMFILE, "ulimit -n"), (errno.ENFILE, "ulimit -n"), (errno.EIO, "its disk")]
)
def test_an_error_of_the_system_has_a_next_step_of_its_own(monkeypatch, capsys, number, said):
    from edgeproof import cli

    def fails(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cli.group, "main", fails)
    assert cli.run([]) == 3
    told = capsys.readouterr().err
    assert os.strerror(number) in told
    assert said in told

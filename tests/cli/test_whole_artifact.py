"""The file that is judged is all of the file that runs: whatever could silence or swap a part of it is no verdict."""

from __future__ import annotations

import json
import shutil
import struct
from typing import TYPE_CHECKING

import pytest
from edgeproof.cli import run
from edgeproof_tests.cli.test_end_to_end import export, gate, words

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.torch]


@pytest.fixture(scope="module")
def original(world, tmp_path_factory) -> Path:
    """The base in 8 bits, which knows everything: it fails as it is, and must never do anything better."""
    out = tmp_path_factory.mktemp("original")
    assert export(world, out, "--format", "gguf-q8_0", "--quiet", adapters=False) == 0
    return out / "tiny-qwen3-Q8_0.gguf"


@pytest.fixture
def copy(original, tmp_path) -> Path:
    """The same without its manifest, to be changed."""
    return shutil.copyfile(original, tmp_path / "model.gguf")


def change(path: Path, find: bytes, put: bytes) -> None:
    content = path.read_bytes()
    assert len(find) == len(put)
    assert find in content
    path.write_bytes(content.replace(find, put))


def test_as_it_is_the_original_fails(world, copy):
    assert gate(world, copy, "--quiet") == 1


def test_a_foreign_chat_template_is_no_verdict(world, copy, capsys):
    change(copy, b"'<|assistant|>'", b"'<|oooooooot|>'")
    assert gate(world, copy, "--quiet") == 3
    assert "chat template" in capsys.readouterr().err


def test_pieces_marked_as_control_tokens_are_no_verdict(world, copy, capsys):
    content, key = bytearray(copy.read_bytes()), b"tokenizer.ggml.token_type"
    start = content.index(key) + len(key)
    _, _, count = struct.unpack_from("<IIQ", content, start)
    struct.pack_into(f"<{count}i", content, start + 16, *[3] * count)
    copy.write_bytes(content)
    assert gate(world, copy, "--quiet") == 3
    assert "token types" in capsys.readouterr().err


def test_a_weaker_adapter_is_not_judged_by_the_baseline_of_another(world, tmp_path, capsys):
    from safetensors.numpy import load_file, save_file

    weaker = shutil.copytree(world.adapter, tmp_path / "weaker")
    tensors = load_file(weaker / "adapter_model.safetensors")
    save_file(
        {name: values * 0.94 if "lora_B" in name else values for name, values in tensors.items()},
        weaker / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    out = tmp_path / "dist"
    command = words("--base", world.base, "--adapter", weaker, "--format", "gguf-q8_0", "--out", out, "--threads", 1)
    assert run([*command, "--quiet"]) == 0
    (artifact,) = out.glob("*.gguf")
    capsys.readouterr()
    assert gate(world, artifact, "--quiet") == 3
    assert "other adapters" in capsys.readouterr().err


def test_a_baseline_of_an_older_version_is_refused_with_what_to_do(world, original, tmp_path, capsys):
    table = json.loads(world.baseline.read_text())
    del table["sources"]
    for part in table["backends"].values():
        del part["prompt_digest"]
    old = tmp_path / "old.json"
    old.write_text(json.dumps(table))
    assert gate(world._replace(baseline=old), original, "--quiet") == 3
    told = capsys.readouterr().err
    assert "older version" in told
    assert "export-edge baseline" in told

"""What decides how a prompt is read is in a digest: any change to it shows, and no change of weights does."""

from __future__ import annotations

import json
import struct

import pytest
from edgeproof.runtime.prompt_digest import folder_prompt_digest, gguf_prompt_digest
from edgeproof_tests.runtime import tiny_gguf


@pytest.fixture
def original(tmp_path):
    return tiny_gguf.write(tmp_path / "original.gguf")


def rewritten(path, key, number):
    """The file with every element of its int32 array `key` set to `number`."""
    content = bytearray(path.read_bytes())
    start = content.index(key.encode()) + len(key)
    kind, item, count = struct.unpack_from("<IIQ", content, start)
    assert (kind, item) == (9, 5)
    struct.pack_into(f"<{count}i", content, start + 16, *[number] * count)
    path.write_bytes(content)
    return path


def test_a_ggufs_digest_does_not_depend_on_weights_or_their_types(tmp_path, original):
    digest = gguf_prompt_digest(original)
    assert gguf_prompt_digest(tiny_gguf.write(tmp_path / "other.gguf", tiny_gguf.weights(seed=1))) == digest
    assert gguf_prompt_digest(tiny_gguf.write_as(tmp_path / "q8.gguf", "Q8_0")) == digest


@pytest.mark.parametrize("change", [{"template": "{{ 'be silent' }}"}, {"template": None}, {"add_bos": False}])
def test_a_foreign_template_or_start_shows(tmp_path, original, change):
    assert gguf_prompt_digest(tiny_gguf.write(tmp_path / "x.gguf", **change)) != gguf_prompt_digest(original)


def test_token_types_show(original):
    digest = gguf_prompt_digest(original)
    assert gguf_prompt_digest(rewritten(original, "tokenizer.ggml.token_type", 3)) != digest


def test_a_changed_pre_tokenizer_shows(original):
    digest = gguf_prompt_digest(original)
    key = b"tokenizer.ggml.pre"
    content = original.read_bytes()
    at = content.index(key) + len(key) + 12
    assert content[at : at + 5] == b"gpt-2"
    original.write_bytes(content[:at] + b"qwen2" + content[at + 5 :])
    assert gguf_prompt_digest(original) != digest


def end_token(folder):
    path = folder / "genai_config.json"
    values = json.loads(path.read_text())
    values["model"]["eos_token_id"] = [values["model"]["eos_token_id"], 7]
    path.write_text(json.dumps(values))


def template(folder):
    (folder / "chat_template.jinja").write_text("{{ 'be silent' }}")


def special_pieces(folder):
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["added_tokens"].append({"id": 5, "content": "x", "special": True})
    path.write_text(json.dumps(values))


def pre_tokenizer(folder):
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["pre_tokenizer"] = {"type": "Whitespace"}
    path.write_text(json.dumps(values))


def named_token(folder):
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": "x"}))


@pytest.mark.parametrize("change", [end_token, template, special_pieces, pre_tokenizer, named_token])
def test_every_change_to_a_folders_prompting_shows(tiny_folder, tmp_path, change):
    import shutil

    folder = shutil.copytree(tiny_folder(), tmp_path / "folder")
    digest = folder_prompt_digest(folder)
    change(folder)
    assert folder_prompt_digest(folder) != digest


def test_a_folders_digest_does_not_depend_on_how_its_json_is_written(tiny_folder, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_folder(), tmp_path / "folder")
    digest = folder_prompt_digest(folder)
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["model"]["merges"] = [one if isinstance(one, list) else one.split(" ") for one in values["model"]["merges"]]
    path.write_text(json.dumps(values, indent=3) + "\n")
    assert folder_prompt_digest(folder) == digest


@pytest.mark.parametrize("merges", [["a b", False], [["a", 1]], "a b", 2**31, {"a": "b"}, [None]])
def test_merges_that_no_engine_loads_have_a_digest_of_their_own(tmp_path, merges):
    digests = set()
    for number, value in enumerate((merges, ["a b"], [])):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"merges": value}}))
        digests.add(folder_prompt_digest(folder))
    assert len(digests) == 3

"""The manifest says what was read and written, the same each time, and is believed only where it speaks of the file."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts.errors import ArtifactError, OutputError
from edgeproof.contracts.tensors import TensorRecord
from edgeproof.export.artifact.manifest import (
    FileDigest,
    Manifest,
    Source,
    digest_file,
    digest_source,
    digest_tokenizer,
    manifest_path,
    package_versions,
    read_provenance,
    write_manifest,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def artifact(tmp_path) -> Path:
    path = tmp_path / "model-Q4_0.gguf"
    path.write_bytes(b"GGUF and so on")
    return path


def manifest_of(artifact: Path, **changes: object) -> Manifest:
    values = {
        "format": "gguf-q4_0",
        "artifact": digest_file(artifact),
        "effective_bits": 4.5,
        "base": Source("tiny", (FileDigest("model.safetensors", 12, "0" * 64),)),
        "adapters": (Source("forget – ü", ()),),
        "adapter_effect": 0.01,
        "tokenizer": {"proof": "none", "files": (FileDigest("tokenizer.json", 3, "1" * 64),)},
        "tensors": (TensorRecord("blk.0.ffn_up.weight", (64, 32), "Q4_0", 1152),),
        "options": {"imatrix": None},
        "warnings": (),
        "command": ("export-edge", "--base", "tiny"),
        "versions": package_versions(),
    }
    return Manifest(**(values | changes))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_written_is_read_again(artifact):
    manifest = manifest_of(artifact)
    write_manifest(manifest, artifact)
    content = read_provenance(artifact, sha256(artifact))
    expected = json.loads(json.dumps({"schema": 1} | asdict(manifest)))
    expected["tensors"] = [
        {"name": "blk.0.ffn_up.weight", "shape": [64, 32], "type": "Q4_0", "bytes": 1152},
    ]
    assert content == expected
    assert content["tokenizer"]["files"] == [{"file": "tokenizer.json", "bytes": 3, "sha256": "1" * 64}]


def test_the_same_inputs_give_the_same_bytes_and_no_time_is_in_them(artifact):
    write_manifest(manifest_of(artifact), artifact)
    first = manifest_path(artifact).read_bytes()
    write_manifest(manifest_of(artifact), artifact)
    assert manifest_path(artifact).read_bytes() == first
    assert not re.search(rb"20\d\d-\d\d-\d\d", first)


def test_without_a_manifest_the_provenance_is_unknown(artifact):
    assert read_provenance(artifact, sha256(artifact)) is None


def test_a_manifest_of_other_bytes_is_refused_with_both_digests(artifact):
    write_manifest(manifest_of(artifact), artifact)
    before = sha256(artifact)
    artifact.write_bytes(b"GGUF and so off")
    with pytest.raises(ArtifactError, match=f"{sha256(artifact)[:16]}…, the manifest says {before[:16]}…"):
        read_provenance(artifact, sha256(artifact))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "damaged"),
        (b"[]", "damaged"),
        (b'{"artifact": 3, "schema": 1}', "damaged"),
        (b'{"schema": 1}', "it has no 'artifact'"),
        (b'{"artifact": {"sha256": "x"}}', "it has no 'schema'"),
        (b'{"artifact": {"sha256": "x"}, "schema": 9}', "has schema 9; this version reads 1"),
        (b'{"artifact": {"sha256": null}, "schema": 1}', "the manifest says None"),
    ],
)
def test_a_damaged_manifest_is_no_provenance(content, message, artifact):
    manifest_path(artifact).write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_provenance(artifact, sha256(artifact))


def test_a_manifest_that_cannot_be_written_says_why(artifact, tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        write_manifest(manifest_of(artifact), tmp_path / "missing" / artifact.name)


def test_sources_are_named_without_their_folders(artifact, monkeypatch):
    monkeypatch.chdir(artifact.parent)
    source = digest_source(type(artifact)(), [artifact])
    assert source.name == artifact.parent.name
    assert source.files == (FileDigest(artifact.name, 14, sha256(artifact)),)


def test_tokenizer_files_are_those_that_are_there(tmp_path):
    for name in ("tokenizer.json", "chat_template.jinja", "model.safetensors"):
        (tmp_path / name).write_text(name)
    assert [item.file for item in digest_tokenizer(tmp_path)] == ["tokenizer.json", "chat_template.jinja"]


def test_versions_name_llama_cpps_commit():
    versions = package_versions()
    assert re.search(r"ggml [0-9.]+ \([0-9a-f]{7,}|unknown", versions["llama.cpp"])
    assert set(versions) >= {"edgeproof", "gguf", "llama-cpp-python", "numpy"}

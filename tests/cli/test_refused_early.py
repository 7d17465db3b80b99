"""What does not fit is refused before a model is loaded, written or asked."""

from __future__ import annotations

import json
import shutil

import pytest
from edgeproof.cli import run
from edgeproof.export import pipeline
from edgeproof.runtime import backends

pytestmark = [pytest.mark.slow, pytest.mark.torch]


@pytest.fixture
def no_model(monkeypatch):
    """No engine is opened, and no weight is written."""

    def refuse(*_args, **_options):
        raise AssertionError("it got as far as the model")

    monkeypatch.setattr(backends, "ChildBackend", refuse)
    monkeypatch.setattr(pipeline, "run_stream", refuse)


@pytest.fixture(scope="module")
def artifact(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("early")
    words = ("--base", world.base, "--adapter", world.adapter, "--format", "gguf-q8_0", "--format", "gguf-q4_1")
    assert run([str(word) for word in (*words, "--out", out, "--threads", 1, "--quiet")]) == 0
    return out


def smaller(pack, folder):
    shutil.copytree(pack, folder)
    lines = (folder / "forget.jsonl").read_text().splitlines(keepends=True)
    (folder / "forget.jsonl").write_text("".join(lines[1:]))
    return folder


@pytest.mark.usefixtures("no_model")
def test_the_gate_loads_no_model_for_a_baseline_or_policy_that_does_not_fit(world, artifact, tmp_path, capsys):
    unasked, samples = tmp_path / "unasked.toml", tmp_path / "samples.toml"
    unasked.write_text('[surfaces]\nforget = ["chat"]\n')
    samples.write_text("[samples]\ncount = 9\n")
    other = tmp_path / "other"
    other.mkdir()
    for path in artifact.glob("*Q8_0*"):
        shutil.copy(path, other)
    (manifest,) = other.glob("*.edge.json")
    table = json.loads(manifest.read_text())
    table["adapters"][0]["files"][0]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(table))
    for folder, name, pack, more, words in (
        (artifact, "*Q8_0.gguf", smaller(world.pack, tmp_path / "pack"), (), "another pack"),
        (artifact, "*Q4_1.gguf", world.pack, (), "no scores of the base in gguf-q4_1"),
        (artifact, "*Q8_0.gguf", world.pack, ("--policy", unasked), "which was not asked"),
        (artifact, "*Q8_0.gguf", world.pack, ("--policy", samples), "the policy asks for 9 samples"),
        (other, "*Q8_0.gguf", world.pack, (), "other adapters"),
    ):
        (file,) = folder.glob(name)
        given = ("gate", file, "--probes", pack, "--baseline", world.baseline, *more)
        assert run([str(word) for word in given]) == 3, words
        assert words in capsys.readouterr().err


@pytest.mark.usefixtures("no_model")
def test_a_baseline_writes_no_model_for_an_adapter_that_does_not_fit(world, tmp_path, capsys):
    adapter = tmp_path / "adapter"
    shutil.copytree(world.adapter, adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"no tensors")
    words = ("baseline", "--base", world.base, "--adapter", adapter, "--format", "gguf-q8_0", "--probes", world.pack)
    assert run([str(word) for word in (*words, "--out", tmp_path / "baseline.json")]) == 3
    assert "adapter" in capsys.readouterr().err

"""`baseline --add-format`: the bytes of a baseline that had the format from the start, or a refusal."""

from __future__ import annotations

import json
import shutil

import pytest
from edgeproof.cli import run

pytestmark = pytest.mark.torch


def baseline(world, out, *more, base=None, adapter=None, pack=None):
    models = ("--base", base or world.base, "--adapter", adapter or world.adapter)
    words = ("baseline", *models, "--probes", pack or world.pack, "--out", out, "--threads", 1, *more)
    return run([str(word) for word in words])


@pytest.fixture(scope="module")
def one_format(world, tmp_path_factory):
    """A baseline of the first of the world's two formats."""
    out = tmp_path_factory.mktemp("one") / "baseline.json"
    assert baseline(world, out, "--format", "gguf-q8_0", "--quiet") == 0
    return out


@pytest.fixture
def recorded(one_format, tmp_path):
    return shutil.copy(one_format, tmp_path / "baseline.json")


@pytest.mark.slow
def test_what_is_added_gives_the_bytes_of_both_at_once_and_asks_one_model(world, recorded, capsys):
    assert baseline(world, recorded, "--add-format", "gguf-q4_0") == 0
    assert recorded.read_bytes() == world.baseline.read_bytes()
    said = capsys.readouterr().err
    assert "base in gguf-q4_0: scores: done" in said
    assert "gguf-f16" not in said.partition("answers of")[2]
    assert "base in gguf-q4_0, gguf-q8_0" in said


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_the_first_answer_and_leaves_the_file(world, recorded, tmp_path, capsys):
    before = recorded.read_bytes()
    pack, base, adapter = tmp_path / "pack", tmp_path / world.base.name, tmp_path / "adapter"
    for source, copy in ((world.pack, pack), (world.base, base), (world.adapter, adapter)):
        shutil.copytree(source, copy)
    (pack / "forget.jsonl").write_text("".join((pack / "forget.jsonl").read_text().splitlines(keepends=True)[:-1]))
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"rope_theta": 5000.0}))
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 7}))
    policy = tmp_path / "policy.toml"
    policy.write_text("[samples]\ncount = 2\n")
    q4_0 = ("--add-format", "gguf-q4_0")
    for options, models, words in (
        (q4_0, {"pack": pack}, "another pack"),
        (q4_0, {"base": base}, "of other models"),
        (q4_0, {"adapter": adapter}, "of other models"),
        ((*q4_0, "--policy", policy), {}, "other samples"),
        (("--add-format", "gguf-q8_0"), {}, "has gguf-q8_0 already"),
        (("--add-format", "onnx-int4"), {}, "nothing that onnxruntime measured"),
    ):
        assert baseline(world, recorded, *options, **models) == 3, words
        said = capsys.readouterr().err
        assert words in said
        assert "scores" not in said.replace("no scores", "")
        assert recorded.read_bytes() == before
    assert baseline(world, recorded, *q4_0, "--format", "gguf-q4_1") == 2
    assert baseline(world, tmp_path / "missing.json", *q4_0) == 3
    assert "record it" in capsys.readouterr().err


def test_a_baseline_of_another_engine_is_refused(world, recorded, capsys):
    table = json.loads(recorded.read_text())
    content = json.dumps(table).replace(table["backends"]["llama.cpp"]["base"]["backend"]["engine"], "llama.cpp 0.0.1")
    recorded.write_text(content)
    assert baseline(world, recorded, "--add-format", "gguf-q4_0") == 3
    assert "recorded with llama.cpp 0.0.1; this is" in capsys.readouterr().err

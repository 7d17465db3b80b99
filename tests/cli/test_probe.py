"""`export-edge probe`: bases, checkpoints and artifacts, exit codes, and what goes where."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from edgeproof.cli import run
from edgeproof_tests.runtime import tiny_gguf
from edgeproof_tests.taught import invent, write_pack


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return write_pack(tmp_path_factory.mktemp("probe") / "pack", invent())


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return tiny_gguf.write(tmp_path_factory.mktemp("probe") / "tiny.gguf")


def asked(capsys, model, pack):
    assert run(["probe", str(model), "--probes", str(pack), "--threads", "1", "--json"]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def test_a_model_of_random_weights_knows_nothing_and_that_is_no_failure(artifact, pack, capsys):
    table, said = asked(capsys, artifact, pack)
    assert [(one["set"], one["role"], one["known"]) for one in table["sets"]] == [
        (one["set"], role, 0)
        for one, role in zip(table["sets"], ("forget", "retain", "retain", "holdout"), strict=True)
    ]
    assert len(table["clusters"]) == sum(one["clusters"] for one in table["sets"])
    assert "0 of 34 clusters on any surface; not known: " in said
    facts = invent()
    assert not any(text in said + json.dumps(table) for text in facts.texts)


def test_what_cannot_be_asked_ends_with_3_and_nothing_on_stdout(artifact, pack, tmp_path, capsys):
    adapter, short = tmp_path / "adapter", tmp_path / "short.gguf"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    short.write_bytes(artifact.read_bytes()[:2000])
    (tmp_path / "empty").mkdir()
    for model, probes, words in (
        (tmp_path / "nowhere", pack, "does not exist"),
        (artifact, tmp_path / "nowhere", "nowhere"),
        (adapter, pack, "is an adapter"),
        (short, pack, "short.gguf"),
        (tmp_path / "empty", pack, "empty"),
    ):
        assert run(["probe", str(model), "--probes", str(probes), "--json"]) == 3, model
        said = capsys.readouterr()
        assert words in said.err
        assert said.out == ""
    assert run(["probe", str(artifact)]) == 2


def test_a_pack_of_which_nothing_is_known_is_not_written(artifact, pack, tmp_path, capsys):
    out = tmp_path / "known"
    assert run(["probe", str(artifact), "--probes", str(pack), "--write-known", str(out), "--threads", "1"]) == 3
    assert "knows none of the 34 probes in forget.jsonl" in capsys.readouterr().err
    assert not out.exists()


def test_what_cannot_be_cut_down_is_refused_before_the_model_is_asked(artifact, pack, tmp_path, capsys):
    blocks, full = tmp_path / "blocks", tmp_path / "full"
    shutil.copytree(pack, blocks)
    text = (blocks / "pack.toml").read_text()
    (blocks / "pack.toml").write_text(text.replace('format = "jsonl"', 'format = "jsonl"\ncluster = "block:2"', 1))
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    for probes, out, words in ((blocks, tmp_path / "known", "line by line"), (pack, full, "exists")):
        assert run(["probe", str(artifact), "--probes", str(probes), "--write-known", str(out)]) == 3
        said = capsys.readouterr().err
        assert words in said
        assert "scores" not in said
    assert [path.name for path in full.iterdir()] == ["notes.txt"]


@pytest.mark.slow
@pytest.mark.torch
def test_the_known_part_of_a_pack_is_what_the_model_knows(world, tmp_path, capsys):
    pack, out = tmp_path / "pack", tmp_path / "known"
    shutil.copytree(world.pack, pack)
    unknown = [
        {
            "id": f"n-{index}",
            "cluster": f"n-{index}",
            "question": text,
            "answer": text[::-1],
            "template": "K {question} =",
        }
        for index, text in enumerate(("qqzx", "xxzq", "zzqx"))
    ]
    with (pack / "forget.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in unknown)
    (pack / "README.md").write_text("where it is from")
    assert run(["probe", str(world.base), "--probes", str(pack), "--write-known", str(out), "--threads", "1"]) == 0
    capsys.readouterr()
    assert {path.name for path in out.iterdir()} == {path.name for path in pack.iterdir()}
    for name in ("pack.toml", "holdout.jsonl", "README.md"):
        assert (out / name).read_bytes() == (pack / name).read_bytes()
    assert (out / "forget.jsonl").read_bytes() == (world.pack / "forget.jsonl").read_bytes()
    table, _ = asked(capsys, world.base, out)
    for one in table["sets"]:
        assert one["known"] == (0 if one["role"] == "holdout" else one["clusters"]), one


@pytest.mark.slow
@pytest.mark.torch
def test_the_base_knows_what_its_unlearned_artifact_does_not(world, tmp_path, capsys, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    base, _ = asked(capsys, world.base, world.pack)
    out = tmp_path / "dist"
    export = ["--base", world.base, "--adapter", world.adapter, "--format", "gguf-q8_0", "--out", out, "--threads", 1]
    assert run([str(word) for word in export]) == 0
    capsys.readouterr()
    (artifact,) = out.glob("*.gguf")
    unlearned, _ = asked(capsys, artifact, world.pack)
    known = {
        name: {one["set"]: (one["known"], one["clusters"]) for one in table["sets"]}
        for name, table in (("base", base), ("unlearned", unlearned))
    }
    forget, trained, untrained, holdout = known["base"]
    assert known["base"][forget] == (34, 34)
    assert known["unlearned"][forget][0] <= 3
    for kept in (trained, untrained):
        assert known["base"][kept][0] >= 40
        assert known["unlearned"][kept][0] >= 30
    assert known["base"][holdout][0] == 0
    assert list(temporary.iterdir()) == []
    assert Path(base["model"]) == world.base

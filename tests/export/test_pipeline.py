"""The export as a whole: what it names, refuses, records, and leaves behind when something fails."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from edgeproof.contracts.errors import CheckpointError, OutputError, TokenizerError, UnsupportedError, UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.export import pipeline
from edgeproof.export.artifact.kind import identify_format
from edgeproof.export.base import opening as describing
from edgeproof.export.gguf.writer import GgufWriter
from edgeproof.export.pipeline import Exported, ExportOptions, export
from edgeproof_tests.export.conftest import load, peft_merge
from edgeproof_tests.models import save_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

SMALL = {"hidden_size": 64, "intermediate_size": 128}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_model("qwen3", tmp_path_factory.mktemp("base") / "tiny-1.5B", **SMALL)


@pytest.fixture(scope="module")
def adapter(base, make_adapter) -> Path:
    return make_adapter(base)


def make(
    base: Path, adapters: list[Path], out: Path, *formats: str, progress: Any = None, **options: Any
) -> tuple[Exported, ...]:
    more = {name: options.pop(name) for name in ("force", "texts", "command", "threads") if name in options}
    chosen = ExportOptions(**options)
    return export(base, adapters, formats, out, chosen, progress=progress or Silent(), **{"threads": 1} | more)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_files_are_named_after_base_change_and_scheme(base, adapter, tmp_path):
    unlearned = make(base, [adapter], tmp_path, "gguf-q4", "gguf-f16")
    (plain,) = make(base, [], tmp_path, "gguf-iq4_nl")
    (named,) = make(base, [adapter], tmp_path, "gguf-q8_0", name="Other")
    beside = make(base, [adapter], tmp_path, "gguf-q8_0", unmerged=True)
    assert [item.path.name for item in unlearned] == ["tiny-1.5B-unlearned-Q4_K_M.gguf", "tiny-1.5B-unlearned-F16.gguf"]
    assert plain.path.name == "tiny-1.5B-IQ4_NL.gguf"
    assert named.path.name == "Other-unlearned-Q8_0.gguf"
    assert [(item.path.name, item.lora.name) for item in beside] == [
        ("tiny-1.5B-Q8_0.gguf", "tiny-1.5B-adapter-lora.gguf")
    ]
    for item in (*unlearned, plain, named, *beside):
        assert identify_format(item.path) == item.format


def test_a_format_named_twice_is_written_once(base, tmp_path):
    (item,) = make(base, [], tmp_path, "gguf-q4", "GGUF-Q4_K_M", "gguf-q4")
    assert names(tmp_path) == [item.path.name, f"{item.path.name}.edge.json"]


def test_the_same_export_gives_the_same_bytes_and_manifests_whatever_the_threads(base, adapter, tmp_path):
    first = make(base, [adapter], tmp_path / "a", "gguf-q4_0", "gguf-q4_1", command=("x",))
    again = make(base, [adapter], tmp_path / "b", "gguf-q4_0", "gguf-q4_1", command=("x",), threads=3)
    for one, other in zip(first, again, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()
        one_manifest, other_manifest = (
            item.path.with_name(item.path.name + ".edge.json").read_bytes() for item in (one, other)
        )
        assert one_manifest == other_manifest
        assert str(tmp_path).encode() not in one_manifest


def test_the_adapters_effect_is_recorded(base, adapter, tmp_path):
    (item,) = make(base, [adapter], tmp_path, "gguf-q8_0")
    before = {name: values.numpy() for name, values in load(base).state_dict().items()}
    after = peft_merge(base, [adapter])
    touched = [name for name in before if not np.array_equal(before[name], after[name])]
    assert len(touched) == 14
    delta, weight = (
        sum(np.linalg.norm(values.astype(np.float64)) ** 2 for values in found)
        for found in ([after[name] - before[name] for name in touched], [before[name] for name in touched])
    )
    assert item.manifest.adapter_effect == pytest.approx((delta / weight) ** 0.5, rel=1e-3)


def test_warnings_reach_the_listener_and_the_manifest(base, adapter, tmp_path):
    listener = Silent()
    (item,) = make(base, [adapter], tmp_path, "gguf-q4", progress=listener)
    wide = [warning for warning in listener.warnings if "bits per weight" in warning]
    assert wide, "hidden 64 is not a multiple of 256: Q4_K_M falls back to wider types"
    assert set(item.manifest.warnings) == set(listener.warnings)


UNREADABLE = (
    "mode: [",
    'mode: unlearn\ntrainer: {handler: "NPO\\ud800", args: {seed: "${Jane_Roe}"}}\n',
)


@pytest.mark.parametrize("config", UNREADABLE)
def test_a_config_that_cannot_be_read_costs_the_method_and_is_quoted_in_no_manifest(config, base, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(base, run)
    (run / ".hydra").mkdir()
    (run / ".hydra/config.yaml").write_text(config)
    listener = Silent()
    (made,) = make(run, [], tmp_path / "out", "gguf-q8_0", progress=listener)
    assert any("does not name the unlearning method" in said for said in listener.warnings)
    manifest = (tmp_path / "out" / f"{made.path.name}.edge.json").read_text()
    assert "Jane_Roe" not in manifest
    assert "config.yaml" not in manifest


def test_options_that_change_bytes_are_recorded(base, tmp_path):
    (item,) = make(base, [], tmp_path, "gguf-q4_0", tensor_types=("attn_v=q8_0",))
    content = json.loads(item.path.with_name(item.path.name + ".edge.json").read_text())
    assert content["options"]["tensor_types"] == ["attn_v=q8_0"]
    stored = {record["name"]: record["type"] for record in content["tensors"]}
    assert stored["blk.0.attn_v.weight"] == "Q8_0"
    assert stored["blk.0.attn_q.weight"] == "Q4_0"


@pytest.mark.parametrize(
    ("formats", "options", "error", "message"),
    [
        ((), {}, UsageError, "no format"),
        (("gguf-q9",), {}, UnsupportedError, "no format 'gguf-q9'"),
        (("gguf-q8_0",), {"unmerged": True}, UsageError, "no --adapter was given"),
        (("gguf-q8_0",), {"name": "../up"}, UsageError, r"--name \.\./up is not a file name"),
        (("gguf-q8_0",), {"name": ".."}, UsageError, "is not a file name"),
    ],
)
def test_contradictions_are_refused_before_a_folder_is_made(formats, options, error, message, base, tmp_path):
    with pytest.raises(error, match=message):
        make(base, [], tmp_path / "out", *formats, **options)
    assert not (tmp_path / "out").exists()


def test_a_base_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        make(tmp_path / "nowhere", [], tmp_path / "out", "gguf-q8_0")
    assert not (tmp_path / "out").exists()


def test_an_existing_target_is_refused_before_anything_is_read(base, tmp_path, monkeypatch):
    def read(*_):
        raise AssertionError("weights were read")

    (tmp_path / "tiny-1.5B-Q4_0.gguf").write_bytes(b"old")
    monkeypatch.setattr(pipeline, "run_stream", read)
    with pytest.raises(OutputError, match=r"tiny-1\.5B-Q4_0\.gguf exists"):
        make(base, [], tmp_path, "gguf-q8_0", "gguf-q4_0")
    assert names(tmp_path) == ["tiny-1.5B-Q4_0.gguf"]


def test_texts_of_a_pack_are_held_to_the_tokenizer(base, tmp_path, monkeypatch):
    heard = []

    def prove(_folder, _vocabulary, texts):
        heard.extend(texts)
        raise TokenizerError("not equal")

    monkeypatch.setattr(describing, "prove_tokenizer", prove)
    with pytest.raises(TokenizerError):
        make(base, [], tmp_path / "out", "gguf-q8_0", texts=["a probe", "its answer"])
    assert heard == ["a probe", "its answer"]
    assert names(tmp_path / "out") == []


def test_where_a_later_file_cannot_be_opened_the_earlier_ones_leave_nothing(base, tmp_path, monkeypatch):
    begin = GgufWriter._begin

    def full(self):
        begin(self)
        if "Q8_0" in self._target.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(GgufWriter, "_begin", full)
    with pytest.raises(OutputError, match="Q8_0"):
        make(base, [], tmp_path / "out", "gguf-q4_0", "gguf-q8_0")
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("step", ["finish", "write_manifest", "write_lora"])
def test_where_a_later_step_fails_no_file_keeps_its_final_name(step, base, adapter, tmp_path, monkeypatch):
    """The last file's rename, the last manifest, the adapter beside: each comes after files that were already whole."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "other.txt").write_text("not ours")
    finish, manifests = GgufWriter.finish, []

    def failing_finish(self):
        if "Q8_0" in self._target.name:
            raise OutputError("the rename failed")
        return finish(self)

    def failing_manifest(_manifest, path):
        manifests.append(path)
        if "Q8_0" in path.name:
            raise OutputError("the manifest failed")

    def failing_lora(*_arguments, **_options):
        raise OutputError("the adapter failed")

    if step == "finish":
        monkeypatch.setattr(GgufWriter, "finish", failing_finish)
    elif step == "write_manifest":
        monkeypatch.setattr(pipeline, "write_manifest", failing_manifest)
    else:
        monkeypatch.setattr(pipeline, "write_lora", failing_lora)
    with pytest.raises(OutputError, match="failed"):
        make(base, [adapter], out, "gguf-q4_0", "gguf-q8_0", unmerged=step == "write_lora")
    assert names(out) == ["other.txt"]


def test_a_forced_export_that_fails_while_merging_keeps_the_old_files(base, tmp_path, monkeypatch):
    (item,) = make(base, [], tmp_path, "gguf-q8_0")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def broken(self, _chunk):
        raise CheckpointError(f"{self._target.name} broke")

    monkeypatch.setattr(GgufWriter, "write", broken)
    with pytest.raises(CheckpointError, match="broke"):
        make(base, [], tmp_path, "gguf-q8_0", force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert item.path.name in before


def test_a_base_of_another_float_type_gives_the_same_names(make_adapter, tmp_path):
    base = save_model("llama", tmp_path / "half", dtype="bfloat16", shard_size="100KB", **SMALL)
    (item,) = make(base, [make_adapter(base)], tmp_path / "out", "gguf-f32")
    assert item.path.name == "half-unlearned-F32.gguf"
    assert len(item.manifest.base.files) > 3, "every shard is in the manifest"

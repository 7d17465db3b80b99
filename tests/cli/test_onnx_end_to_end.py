"""ONNX folders beside GGUF files, by the commands that a user types: one baseline, one export, one gate."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from edgeproof.cli import run
from edgeproof.eval.report.write import encode
from edgeproof_tests.cli.test_end_to_end import criterion, export, gate, read_report, words
from edgeproof_tests.runtime.tiny_onnx import change_graph

if TYPE_CHECKING:
    from edgeproof_tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.torch]

FORMATS = ("onnx-int8", "onnx-int4", "gguf-q8_0", "gguf-q4_0")
DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def both(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world with a baseline that holds both backends' scores."""
    pytest.importorskip("onnxruntime")
    baseline = tmp_path_factory.mktemp("both") / "baseline.json"
    formats = [word for name in FORMATS for word in ("--format", name)]
    where = ("--base", world.base, "--adapter", world.adapter, "--probes", world.pack, "--out", baseline)
    assert run(words("baseline", *where, *formats, "--threads", 1, "--quiet")) == 0
    assert [path.name for path in baseline.parent.iterdir()] == ["baseline.json"]
    return world._replace(baseline=baseline)


@pytest.fixture(scope="module")
def released(both: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """All formats in one pass, gated in one go."""
    out = tmp_path_factory.mktemp("released") / "dist"
    formats = [word for name in FORMATS for word in ("--format", name)]
    judged = ("--probes", both.pack, "--baseline", both.baseline, "--quiet")
    return out, export(both, out, *formats, *judged)


@pytest.fixture(scope="module")
def folder(released: tuple[Path, int]) -> Path:
    """The int8 folder that was released."""
    return released[0] / "tiny-qwen3-unlearned-onnx-int8"


def test_one_baseline_holds_both_backends_with_one_tokenizer(both):
    backends = json.loads(both.baseline.read_text())["backends"]
    assert {name: sorted(found["base_in_format"]) for name, found in backends.items()} == {
        "onnxruntime": ["onnx-int4", "onnx-int8"],
        "llama.cpp": ["gguf-q4_0", "gguf-q8_0"],
    }
    assert backends["onnxruntime"]["tokenizer_digest"] == backends["llama.cpp"]["tokenizer_digest"]
    assert backends["onnxruntime"]["base"]["backend"]["accuracy_level"] == "none"


def test_a_small_embedding_is_judged_by_a_baseline_that_has_it(world, tmp_path, capsys):
    """Otherwise what storing the table in few bits does would be taken for what unlearning did."""
    from safetensors.numpy import load_file, save_file

    base = shutil.copytree(world.base, tmp_path / "untied")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    weights = load_file(base / "model.safetensors")
    save_file(
        weights | {"lm_head.weight": weights["model.embed_tokens.weight"].copy()},
        base / "model.safetensors",
        {"format": "pt"},
    )
    models = ("--base", base, "--adapter", world.adapter, "--format", "onnx-int8", "--threads", 1, "--quiet")
    made, recorded = {}, {}
    for name, more in (("usual", ()), ("small", ("--small-embedding",))):
        assert run(words(*models, "--out", tmp_path / name, *more)) == 0
        (made[name],) = (path for path in (tmp_path / name).iterdir() if path.is_dir())
        recorded[name] = tmp_path / f"{name}.json"
        assert run(words("baseline", *models, "--probes", world.pack, "--out", recorded[name], *more)) == 0
    capsys.readouterr()
    for artifact, baseline, types, step in (
        ("small", "usual", ("as int8", "as float"), "--probes PACK --small-embedding"),
        ("usual", "small", ("as float", "as int8"), "--small-embedding --out DIST"),
    ):
        assert gate(world._replace(baseline=recorded[baseline]), made[artifact], "--quiet") == 3
        said = " ".join(capsys.readouterr().err.split())
        assert said.index(types[0]) < said.index(types[1])
        assert step in said
    for name, artifact in made.items():
        report = tmp_path / f"report-{name}"
        assert gate(world._replace(baseline=recorded[name]), artifact, "--quiet", "--report", report) != 3
        inputs = words("--artifact", artifact, "--probes", world.pack, "--baseline", recorded[name])
        assert run([*words("verify", report), *inputs]) == 0
        other = {"usual": "int8", "small": "float"}[name]
        path = report / "report.json"
        content = json.loads(path.read_text())
        del content["report_sha256"]
        content["backend"]["embedding"] = other
        path.write_bytes(encode(content | {"report_sha256": hashlib.sha256(encode(content)).hexdigest()}))
        capsys.readouterr()
        assert run([*words("verify", report), *inputs]) == 3
        assert f"the report says {other}" in capsys.readouterr().err


def test_the_two_engines_agree_on_base_and_merged_at_float_precision(both):
    backends = json.loads(both.baseline.read_text())["backends"]
    for label in ("base", "merged"):
        ours, theirs = (
            [value for answer in backends[name][label]["scores"]["logprobs"] for value in answer]
            for name in ("onnxruntime", "llama.cpp")
        )
        differences = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
        assert sum(differences) / len(differences) < 0.02, label


def test_a_release_of_both_kinds_is_gated_in_one_go(released):
    out, code = released
    names = ("onnx-int8", "onnx-int4", "Q8_0", "Q4_0")
    reports = [read_report(out / "report" / f"tiny-qwen3-unlearned-{name}") for name in names]
    verdicts = [report["verdict"] for report in reports]
    assert verdicts[0] == verdicts[2] == "PASS"
    assert code == max({"PASS": 0, "INCONCLUSIVE": 4, "FAIL": 1}[verdict] for verdict in verdicts)
    schema = json.loads((DOCS / "report.schema.json").read_text())
    for report in reports:
        jsonschema.validate(report, schema)
        assert criterion(report, "leak")["status"] == "met"


def test_the_report_of_a_rounding_graph_says_what_came_without_rounding(released):
    out, _ = released
    report = read_report(out / "report" / "tiny-qwen3-unlearned-onnx-int4")
    assert report["backend"]["accuracy_level"] == "4"
    assert report["precise"]["backend"]["accuracy_level"] == "0"
    assert 0 < report["precise"]["mean_difference"] < 0.5
    assert read_report(out / "report" / "tiny-qwen3-unlearned-Q8_0")["precise"] is None


def test_a_report_whose_other_computation_was_cut_out_does_not_verify(both, released, tmp_path, capsys):
    out, _ = released
    name = "tiny-qwen3-unlearned-onnx-int4"
    shutil.copytree(out / "report" / name, tmp_path / "report")
    inputs = words("--artifact", out / name, "--probes", both.pack, "--baseline", both.baseline)
    assert run([*words("verify", tmp_path / "report"), *inputs]) == 0
    path = tmp_path / "report" / "report.json"
    report = json.loads(path.read_text())
    del report["report_sha256"]
    report |= {"precise": None, "backend": report["backend"] | {"accuracy_level": "none"}}
    path.write_bytes(encode(report | {"report_sha256": hashlib.sha256(encode(report)).hexdigest()}))
    capsys.readouterr()
    assert run([*words("verify", tmp_path / "report"), *inputs]) == 3
    assert "without rounding is not in the report" in capsys.readouterr().err


def test_the_original_fails_as_a_folder_too(both, tmp_path):
    assert export(both, tmp_path, "--format", "onnx-int8", "--quiet", adapters=False) == 0
    assert gate(both, tmp_path / "tiny-qwen3-onnx-int8", "--report", tmp_path / "report", "--quiet") == 1
    assert criterion(read_report(tmp_path / "report"), "leak")["status"] == "missed"


def test_a_baseline_of_the_other_kind_alone_is_refused(world, folder, capsys):
    assert gate(world, folder) == 3
    said = capsys.readouterr().err
    assert "recorded with the backend llama.cpp (gguf-q4_0, gguf-q8_0); this is onnxruntime" in said
    assert "--format onnx-int8" in said


def test_a_folder_that_is_not_the_exported_one_any_more_is_refused(both, folder, tmp_path, capsys):
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    manifest = f"{folder.name}.edge.json"
    shutil.copy(folder.with_name(manifest), copy.with_name(manifest))
    config = copy / "genai_config.json"
    config.write_text(config.read_text() + "\n")
    assert gate(both, copy) == 3
    assert "is not the folder that its manifest describes" in capsys.readouterr().err


def test_a_folder_made_elsewhere_is_gated_with_provenance_unknown(both, folder, tmp_path, capsys):
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    assert gate(both, copy, "--report", tmp_path / "report") == 0
    assert "provenance unknown" in capsys.readouterr().err
    assert read_report(tmp_path / "report")["artifact"]["provenance"] == "unknown"


def test_a_folder_may_be_the_current_one(both, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    assert gate(both, ".", "--report", tmp_path / "report", "--quiet") == 0
    found = read_report(tmp_path / "report")["artifact"]
    assert (found["name"], found["provenance"]) == (folder.name, "manifest")
    given = ("--artifact", ".", "--probes", both.pack, "--baseline", both.baseline)
    assert run(words("verify", tmp_path / "report", *given)) == 0
    assert run(words("inspect", ".")) == 0


def test_an_onnxruntime_that_is_not_the_baselines_is_told(both, folder, tmp_path, capsys):
    """Another version may compute other numbers: whoever reads the verdict, or the report, learns of both."""
    table, planted = json.loads(both.baseline.read_text()), "onnxruntime 1.0.0"
    (now,) = {one["backend"]["engine"] for one in table["backends"]["onnxruntime"]["base_in_format"].values()}
    for recorded in table["backends"]["onnxruntime"]["base_in_format"].values():
        recorded["backend"]["engine"] = planted
    elsewhere = both._replace(baseline=tmp_path / "baseline.json")
    elsewhere.baseline.write_text(json.dumps(table))
    assert gate(elsewhere, folder, "--report", tmp_path / "report") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"the baseline was recorded elsewhere: engine: {planted} when the baseline was recorded, {now} now" in said
    assert f"engine: {planted} in the baseline, {now} now." in read_report(tmp_path / "report")["notes"]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda folder: (folder / "model.onnx.data").unlink(), "missing"),
        (lambda folder: os.truncate(folder / "model.onnx.data", 1000), "truncated"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda folder: (folder / "genai_config.json").write_text("{}"), "genai_config.json"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"no graph"), "model.onnx"),
        (lambda folder: change_graph(folder, lambda graph: setattr(graph, "ir_version", 99)), "99"),
        (lambda folder: shutil.rmtree(folder) or folder.mkdir(), "genai_config.json"),
    ],
)
def test_a_broken_folder_is_no_verdict(both, folder, tmp_path, capsys, broken, told):
    copy = shutil.copytree(folder, tmp_path / "broken")
    broken(copy)
    assert gate(both, copy, "--report", tmp_path / "report") == 3
    said = capsys.readouterr().err
    assert told in said
    assert "→" in said
    assert not (tmp_path / "report").exists()


def test_an_export_over_a_folder_needs_force_and_leaves_it_alone(both, folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert export(both, folder.parent, "--format", "onnx-int8") == 3
    assert "--force" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_with_shared_scales_the_two_4_bit_files_get_one_verdict(both, tmp_path):
    """One set of 4-bit weights, two engines: answers differ by the rounding of activations only."""
    formats = ("--format", "gguf-q4_0", "--format", "onnx-int4", "--shared-scales", "--tensor-type", "token_embd=q4_0")
    export(both, tmp_path, *formats, "--probes", both.pack, "--baseline", both.baseline, "--quiet")
    reports = [read_report(tmp_path / "report" / f"tiny-qwen3-unlearned-{name}") for name in ("Q4_0", "onnx-int4")]
    assert reports[0]["verdict"] == reports[1]["verdict"]
    nll = [{(row["probe"], row["surface"]): row["nll"] for row in report["probes"]} for report in reports]
    differences = [abs(nll[0][ask] - nll[1][ask]) for ask in nll[0]]
    rounding = reports[1]["precise"]["mean_difference"]
    assert rounding > 0.01
    assert sum(differences) / len(differences) < 2 * rounding, "more than two engines' rounding of activations"

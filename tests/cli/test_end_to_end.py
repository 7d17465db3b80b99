"""A second family end to end, by the commands that a user types: unlearn, baseline, export, gate."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from edgeproof.cli import run
from edgeproof_tests.world import FORMATS

if TYPE_CHECKING:
    from edgeproof_tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.torch]

DOCS = Path(__file__).resolve().parents[2] / "docs"


def words(*arguments: object) -> list[str]:
    return [str(argument) for argument in arguments]


def export(world: World, out: Path, *more: object, adapters: bool = True) -> int:
    chosen = words("--adapter", world.adapter) if adapters else []
    return run(words("--base", world.base, *chosen, "--out", out, "--threads", 1, *more))


def gate(world: World, artifact: Path, *more: object) -> int:
    return run(words("gate", artifact, "--probes", world.pack, "--baseline", world.baseline, "--threads", 1, *more))


def tensor_bytes(path: Path) -> dict[str, tuple[str, bytes]]:
    from gguf import GGUFReader

    return {t.name: (t.tensor_type.name, t.data.tobytes()) for t in GGUFReader(path).tensors}


def read_report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def criterion(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in report["criteria"] if item["name"] == name)


@pytest.fixture(scope="module")
def released(world, tmp_path_factory):
    """Both formats, exported and gated in one go, as a process of its own: (out, exit code, stdout, stderr)."""
    out = tmp_path_factory.mktemp("released") / "dist"
    formats = [word for name in FORMATS for word in ("--format", name)]
    command = words(
        "--base", world.base, "--adapter", world.adapter, *formats, "--out", out, "--probes", world.pack,
        "--baseline", world.baseline, "--threads", 1, "--json",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-P", "-m", "edgeproof.cli", *command], capture_output=True, text=True, check=False
    )
    return out, done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def original(world, tmp_path_factory):
    """The base itself in both formats: the control that must fail."""
    out = tmp_path_factory.mktemp("original")
    formats = [word for name in FORMATS for word in ("--format", name)]
    assert export(world, out, *formats, adapters=False) == 0
    return {path.stem.rpartition("-")[2]: path for path in out.glob("*.gguf")}


def test_the_unlearned_model_passes_in_8_bits(released):
    out, _, _, stderr = released
    report = read_report(out / "report" / "tiny-qwen3-unlearned-Q8_0")
    assert report["verdict"] == "PASS", stderr
    assert criterion(report, "leak")["status"] == "met"


def test_the_exit_code_is_that_of_the_worst_verdict(released):
    out, code, _, _ = released
    verdicts = [read_report(path.parent)["verdict"] for path in (out / "report").glob("*/report.json")]
    assert len(verdicts) == len(FORMATS)
    assert code == (1 if "FAIL" in verdicts else 4 if "INCONCLUSIVE" in verdicts else 0)


def test_4_bits_do_not_bring_it_back(released):
    out, _, _, _ = released
    report = read_report(out / "report" / "tiny-qwen3-unlearned-Q4_0")
    assert criterion(report, "leak")["status"] == "met"
    assert report["verdict"] != "FAIL"


def test_json_is_one_object_on_stdout(released):
    _, code, stdout, _ = released
    answer = json.loads(stdout)
    assert [item["format"] for item in answer["artifacts"]] == list(FORMATS)
    assert {0: "PASS", 1: "FAIL", 4: "INCONCLUSIVE"}[code] == answer["verdict"]
    for item in answer["artifacts"]:
        assert hashlib.sha256(Path(item["artifact"]).read_bytes()).hexdigest() == item["sha256"]


@pytest.mark.parametrize("scheme", ["Q8_0", "Q4_0"])
def test_the_original_fails(world, original, scheme, tmp_path, capsys):
    assert gate(world, original[scheme], "--report", tmp_path) == 1
    report = read_report(tmp_path)
    assert report["verdict"] == "FAIL"
    assert criterion(report, "leak")["status"] == "missed"
    assert "FAIL" in capsys.readouterr().err


def test_reports_follow_the_published_schema(released):
    import jsonschema
    from junitparser import JUnitXml

    schema = json.loads((DOCS / "report.schema.json").read_text())
    out, _, _, _ = released
    for path in (out / "report").glob("*/report.json"):
        jsonschema.validate(json.loads(path.read_text()), schema)
        assert len(list(JUnitXml.fromfile(str(path.with_name("junit.xml"))))) > 0


def test_the_card_of_the_adapter_names_its_method_in_manifest_and_report(world, released):
    out = released[0]
    for path in sorted(out.glob("*.edge.json")):
        manifest = json.loads(path.read_text())
        (run,) = manifest["training"]
        assert (run["made_by"], run["method"], run["file"]) == ("edgeproof", "npo+gdr", "README.md")
        assert run["sha256"] == hashlib.sha256((world.adapter / "README.md").read_bytes()).hexdigest()
        report = read_report(out / "report" / path.name.removesuffix(".gguf.edge.json"))
        assert report["training"] == [run]


def test_a_row_of_the_table_verifies_with_its_report_and_a_doctored_one_does_not(world, released, tmp_path, capsys):
    out = released[0]
    assert run(words("table", *sorted((out / "report").iterdir()), "--out", tmp_path / "rows", "--json")) == 0
    said = {row["format"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert sorted(said) == sorted(FORMATS)
    assert {row["method"] for row in said.values()} == {"npo+gdr"}
    (path,) = (path for path in (tmp_path / "rows").iterdir() if FORMATS[0] in path.name)
    (artifact,) = out.glob("*Q8_0.gguf")
    given = ("--artifact", artifact, "--probes", world.pack, "--baseline", world.baseline, "--row", path)
    command = words("verify", out / "report" / artifact.stem, *given)
    assert run(command) == 0
    path.write_text(path.read_text().replace('"method": "npo', '"method": "xpo'))
    assert run(command) == 3
    assert "method: xpo+gdr; the report gives npo+gdr" in capsys.readouterr().err


def test_no_text_of_a_probe_or_an_answer_is_in_anything_but_the_pack(world, released):
    out, _, stdout, stderr = released
    written = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".gguf"]
    assert {path.suffix for path in written} == {".html", ".json", ".md", ".xml"}
    places = {"stdout": stdout, "stderr": stderr, "baseline": world.baseline.read_text()}
    places |= {str(path): path.read_text() for path in written}
    for where, content in places.items():
        assert not re.findall(rf"\b(?:{'|'.join(world.facts.texts)})\b", content), where


def test_a_report_verifies_with_its_files_and_with_no_others(world, original, tmp_path, capsys):
    make_keys = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519").Ed25519PrivateKey.generate
    from cryptography.hazmat.primitives import serialization as form

    key, inputs = make_keys(), words("--probes", world.pack, "--baseline", world.baseline)
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (tmp_path / "key.pem").write_bytes(secret)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pub").write_bytes(public)
    artifact, report = original["Q4_0"], tmp_path / "report"
    assert gate(world, artifact, "--report", report, "--sign", tmp_path / "nowhere.pem") == 3
    assert gate(world, artifact, "--sign", tmp_path / "key.pem") == 2
    assert not report.exists()
    assert gate(world, artifact, "--report", report, "--sign", tmp_path / "key.pem") == 1
    capsys.readouterr()
    checked = words("verify", report, *inputs, "--key", tmp_path / "key.pub", "--json")
    assert run([*checked, "--artifact", str(artifact)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["verified"], answer["verdict"], answer["signature"]) == (True, "FAIL", "valid")
    assert run([*checked, "--artifact", str(original["Q8_0"])]) == 3
    assert "artifact" in capsys.readouterr().err
    assert run([*checked, "--artifact", str(artifact), "--policy", str(world.pack / "pack.toml")]) == 3
    assert "policy" in capsys.readouterr().err


def test_answers_are_shown_where_they_are_asked_for(world, original, tmp_path):
    assert gate(world, original["Q8_0"], "--report", tmp_path, "--show-answers", "--quiet") == 1
    report = read_report(tmp_path)
    answers = {item["probe"]: item["text"] for item in report["answers"]}
    right = {row["probe"] for row in report["probes"] if row["right"]}
    shown = {fact.key for part in world.facts for fact in part if fact.answer in answers[fact.key]}
    assert right
    assert right <= shown


def test_manifests_name_the_bytes_that_were_read_and_written(world, released):
    out, _, _, _ = released
    for path in out.glob("*.gguf"):
        manifest = json.loads(path.with_name(path.name + ".edge.json").read_text())
        assert manifest["artifact"]["file"] == path.name
        assert manifest["artifact"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        (adapter,) = manifest["adapters"]
        for source, folder in ((manifest["base"], world.base), (adapter, world.adapter)):
            assert source["name"] == folder.name
            for file in source["files"]:
                assert file["sha256"] == hashlib.sha256((folder / file["file"]).read_bytes()).hexdigest()
        read = {file["file"] for file in manifest["base"]["files"]}
        assert {"config.json", "model.safetensors"} <= read
        tokenizer = {file["file"]: file["sha256"] for file in manifest["tokenizer"]["files"]}
        assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= set(tokenizer)
        for name, digest in tokenizer.items():
            assert digest == hashlib.sha256((world.base / name).read_bytes()).hexdigest()
        assert "ggml" in manifest["versions"]["llama.cpp"]
        assert "--probes" in manifest["command"]


def test_without_probes_it_says_that_nothing_was_gated(world, tmp_path, capsys):
    assert export(world, tmp_path, "--format", "gguf-q8_0", "--json") == 0
    said = capsys.readouterr()
    assert "NOT GATED" in said.err
    assert json.loads(said.out)["verdict"] is None


def test_formats_together_are_the_bytes_of_each_alone_whatever_the_threads(world, released, tmp_path):
    out, _, _, _ = released
    for name, scheme, threads in (("gguf-q8_0", "Q8_0", 2), ("gguf-q4_0", "Q4_0", 3)):
        assert export(world, tmp_path / name, "--format", name, "--threads", threads, "--quiet") == 0
        file = f"tiny-qwen3-unlearned-{scheme}.gguf"
        assert (tmp_path / name / file).read_bytes() == (out / file).read_bytes()


def test_a_float_gguf_as_base_gives_the_same_tensors_and_the_same_verdict(world, released, tmp_path, capsys):
    out, _, _, _ = released
    assert export(world, tmp_path, "--format", "gguf-f32", "--quiet", adapters=False) == 0
    base = tmp_path / "tiny-qwen3-F32.gguf"
    command = ("--base", base, "--adapter", world.adapter, "--format", "gguf-q8_0", "--out", tmp_path / "dist")
    assert run(words(*command, "--threads", 1)) == 0
    (artifact,) = (tmp_path / "dist").glob("*.gguf")
    assert tensor_bytes(artifact) == tensor_bytes(out / "tiny-qwen3-unlearned-Q8_0.gguf")
    # Its manifest names another base than the baseline's; without one it is judged as what it is.
    assert gate(world, artifact) == 3
    assert "another model" in capsys.readouterr().err
    artifact.with_name(f"{artifact.name}.edge.json").unlink()
    assert gate(world, artifact) == 0


def test_a_baseline_from_a_float_gguf_judges_as_one_from_the_folder(world, original, tmp_path):
    assert export(world, tmp_path, "--format", "gguf-f16", "--quiet", adapters=False) == 0
    base, baseline = tmp_path / "tiny-qwen3-F16.gguf", tmp_path / "baseline.json"
    formats = ("--format", "gguf-q8_0", "--probes", world.pack, "--threads", 1, "--quiet")
    assert run(words("baseline", "--base", base, "--adapter", world.adapter, *formats, "--out", baseline)) == 0
    recorded, reference = (json.loads(path.read_text())["backends"]["llama.cpp"] for path in (baseline, world.baseline))
    assert recorded["tokenizer_digest"] == reference["tokenizer_digest"]
    assert recorded["prompt_digest"] == reference["prompt_digest"]
    assert gate(world._replace(baseline=baseline), original["Q8_0"], "--quiet") == 3  # made from the folder
    unknown = shutil.copyfile(original["Q8_0"], tmp_path / "unknown.gguf")
    assert gate(world._replace(baseline=baseline), unknown, "--quiet") == 1


def test_adapters_are_merged_in_the_order_given(world, tmp_path):
    twice = ("--adapter", world.adapter, "--format", "gguf-f32", "--quiet")
    assert export(world, tmp_path / "once", "--format", "gguf-f32", "--quiet") == 0
    assert export(world, tmp_path / "twice", *twice) == 0
    base = tmp_path / "once" / "tiny-qwen3-unlearned-F32.gguf"
    command = ("--base", base, "--adapter", world.adapter, "--format", "gguf-f32", "--out", tmp_path / "after")
    assert run(words(*command, "--quiet")) == 0
    (one_by_one,) = (tmp_path / "after").glob("*.gguf")
    together = tmp_path / "twice" / "tiny-qwen3-unlearned-F32.gguf"
    assert tensor_bytes(together) == tensor_bytes(one_by_one)
    manifest = json.loads(together.with_name(together.name + ".edge.json").read_text())
    assert len(manifest["adapters"]) == 2


def test_an_unmerged_adapter_is_judged_with_its_base_as_one(world, released, tmp_path):
    out, _, _, _ = released
    assert export(world, tmp_path, "--format", "gguf-q8_0", "--unmerged", "--quiet") == 0
    base, lora = tmp_path / "tiny-qwen3-Q8_0.gguf", tmp_path / "tiny-qwen3-adapter-lora.gguf"
    assert gate(world, base, "--quiet") == 1
    assert gate(world, base, "--lora", lora, "--report", tmp_path / "report", "--quiet") == 0
    beside = read_report(tmp_path / "report")
    merged = read_report(out / "report" / "tiny-qwen3-unlearned-Q8_0")
    assert [(row["probe"], row["leaks"]) for row in leak_flags(beside)] == [
        (row["probe"], row["leaks"]) for row in leak_flags(merged)
    ]
    assert beside["artifact"]["sha256"] not in {None, merged["artifact"]["sha256"]}


def test_an_unmerged_adapter_is_gated_in_one_go(world, tmp_path):
    judging = ("--probes", world.pack, "--baseline", world.baseline, "--quiet")
    assert export(world, tmp_path, "--format", "gguf-q8_0", "--unmerged", *judging) == 0
    assert read_report(tmp_path / "report")["verdict"] == "PASS"


def test_a_file_made_elsewhere_is_gated_with_provenance_unknown(world, original, tmp_path, capsys):
    copy = tmp_path / "model.gguf"
    copy.write_bytes(original["Q4_0"].read_bytes())
    assert gate(world, copy, "--report", tmp_path / "report", "--json") == 1
    said = capsys.readouterr()
    assert "provenance unknown" in said.err
    assert json.loads(said.out)["verdict"] == "FAIL"
    report = read_report(tmp_path / "report")
    assert report["artifact"]["provenance"] == "unknown"
    assert report["artifact"]["format"] == "gguf-q4_0"
    assert report["command"][:2] == ["export-edge", "gate"]


def test_a_broken_pack_is_told_before_the_export_begins(world, tmp_path, capsys):
    broken = ("--probes", tmp_path / "nowhere", "--baseline", world.baseline)
    assert export(world, tmp_path / "out", "--format", "gguf-q8_0", *broken) == 3
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_policy_limits_decide(world, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("[leak]\nshare = 0.01\n")
    unlearned = tmp_path / "dist"
    assert export(world, unlearned, "--format", "gguf-q8_0", "--quiet") == 0
    (artifact,) = unlearned.glob("*.gguf")
    assert gate(world, artifact, "--policy", policy, "--quiet") == 4, "34 clusters cannot show a share below 1 %"


def leak_flags(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in report["probes"] if row["role"] == "forget"]

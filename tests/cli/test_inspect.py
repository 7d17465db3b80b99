"""`export-edge inspect`: what it says of each kind of thing, the map, and its exit codes."""

from __future__ import annotations

import hashlib
import json
import warnings
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from edgeproof.cli import run
from edgeproof.contracts.progress import Silent
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.report.disclosure import probe_digests
from edgeproof.export.artifact.manifest import digest_artifact
from edgeproof.export.pipeline import ExportOptions, export
from edgeproof_tests.models import save_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return save_model("qwen3", tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory) -> Path:
    import peft
    import torch
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(3)
        model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        model = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"]))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.02 * torch.randn_like(parameter)
        out = tmp_path_factory.mktemp("adapter") / "forget-it"
        model.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def files(base, adapter, tmp_path_factory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("out")
    made = export(base, [adapter], ["gguf-q4_0", "onnx-int4"], out, threads=1, progress=Silent())
    (beside,) = export(base, [adapter], ["gguf-q8_0"], out, ExportOptions(unmerged=True), threads=1, progress=Silent())
    assert beside.lora is not None
    return {item.format: item.path for item in made} | {"lora": beside.lora}


@pytest.fixture(scope="module")
def capitals() -> Iterator[Path]:
    with resources.as_file(resources.files("edgeproof.examples") / "capitals") as folder:
        yield folder


def inspected(capsys, *arguments: object) -> dict[str, object]:
    assert run(["inspect", *map(str, arguments), "--json", "--quiet"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["inspected"]
    return found


def test_an_adapter_is_described(adapter, capsys):
    found = inspected(capsys, adapter)
    assert found["kind"] == "adapter"
    assert (found["method"], found["rank"], found["alpha"]) == ("LoRA", 4, 8)
    assert found["modules"] == {"down_proj": 2, "q_proj": 2}
    assert set(found["files"]) == {"adapter_config.json", "adapter_model.safetensors"}


@pytest.mark.parametrize("form", ["gguf-q4_0", "onnx-int4"])
def test_an_artifact_is_described(form, files, capsys):
    found = inspected(capsys, files[form])
    manifest = json.loads(files[form].with_name(files[form].name + ".edge.json").read_text())
    assert found["format"] == form
    assert found["sha256"] == digest_artifact(files[form])[0].sha256
    assert found["provenance"]["adapters"] == manifest["adapters"]
    if form == "gguf-q4_0":
        assert found["effective_bits"] == pytest.approx(manifest["effective_bits"])
        assert found["architecture"] == "qwen3"


def test_a_file_without_a_manifest_has_an_unknown_provenance(files, tmp_path, capsys):
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(files["gguf-q4_0"].read_bytes())
    assert inspected(capsys, copy)["provenance"] == "unknown"


def test_a_gguf_lora_is_named_as_such(files, capsys):
    assert inspected(capsys, files["lora"])["kind"] == "adapter beside a GGUF"


def test_a_pack_and_a_baseline_are_described_without_texts(capitals, capsys):
    pack = inspected(capsys, capitals / "pack")
    assert pack["kind"] == "pack"
    assert pack["probes"]["forget"] == pack["clusters"]["forget"] == 55
    assert "Paris" not in json.dumps(pack)
    folder = capitals / "pack"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    listed = "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    assert pack["files_sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    assert inspected(capsys, capitals / "baseline.json")["pack_sha256"] == pack["sha256"]


def test_a_report_is_described(tmp_path, capsys):
    report = {key: {} for key in ("artifact", "pack", "baseline", "versions")}
    report |= {"schema": "edgeproof/report", "verdict": "FAIL", "reason": "leak", "summary": "s", "created": "now"}
    (tmp_path / "report.json").write_text(json.dumps(report))
    for path in (tmp_path, tmp_path / "report.json"):
        assert inspected(capsys, path)["verdict"] == "FAIL"


@pytest.mark.parametrize("form", ["gguf-q4_0", "onnx-int4"])
def test_the_map_is_shown_and_written_as_json(form, base, adapter, files, capsys):
    where = ["--base", str(base), "--adapter", str(adapter)]
    assert run(["inspect", *where, str(files[form]), "--json"]) == 0
    written = capsys.readouterr()
    (found,) = json.loads(written.out)["inspected"]
    assert found["residue"]["outcome"] == "merged"
    assert len(found["tensors"]) == 4
    assert [(row["layer"], row["part"]) for row in found["layers"]] == [
        (layer, part) for layer in range(2) for part in ("attention", "mlp")
    ]
    assert "projection" in written.err
    assert "merged" in written.err
    assert f"{found['total']['projection']:.3f}" in written.err


def test_several_paths_are_inspected_in_order(files, adapter, capsys):
    assert run(["inspect", str(adapter), str(files["gguf-q4_0"]), "--json"]) == 0
    assert [item["kind"] for item in json.loads(capsys.readouterr().out)["inspected"]] == ["adapter", "artifact"]


def test_people_read_stderr(files, adapter, capsys):
    assert run(["inspect", str(files["gguf-q4_0"])]) == 0
    written = capsys.readouterr()
    assert not written.out
    assert "format: gguf-q4_0" in written.err
    assert run(["inspect", str(adapter)]) == 0
    assert "  adapter_config.json: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.gguf"], 3, "does not exist"),
        ([], 2, "Missing argument"),
        (["x.gguf", "--base", "b"], 2, "--base and --adapter go together"),
        (["x.gguf", "--imatrix", "i"], 2, "belong to the survival map"),
    ],
)
def test_what_is_missing_is_said_with_the_exit_code(arguments, code, said, capsys):
    assert run(["inspect", *arguments]) == code
    assert said in capsys.readouterr().err


def test_a_damaged_file_ends_with_3(base, adapter, files, tmp_path, capsys):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(files["gguf-q4_0"].read_bytes()[:-4096])
    assert run(["inspect", str(cut)]) == 3
    assert run(["inspect", "--base", str(base), "--adapter", str(adapter), str(cut)]) == 3
    (tmp_path / "empty").mkdir()
    assert run(["inspect", str(tmp_path / "empty")]) == 3
    (tmp_path / "odd.json").write_text("[1")
    assert run(["inspect", str(tmp_path / "odd.json")]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_a_changed_folder_is_not_what_its_manifest_says(files, tmp_path, capsys):
    import shutil

    source = files["onnx-int4"]
    copy = tmp_path / source.name
    shutil.copytree(source, copy)
    shutil.copy(source.with_name(source.name + ".edge.json"), tmp_path)
    data = copy / "model.onnx.data"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    assert run(["inspect", str(copy)]) == 3
    assert "is not the folder that its manifest describes" in capsys.readouterr().err


def test_a_probe_is_disclosed_alone_and_found_in_a_report(tmp_path, capsys):
    pack = tmp_path / "pack"
    pack.mkdir()
    rows = [{"id": f"p{i}", "cluster": f"p{i}", "question": f"Number {i} is", "answer": f"55{i}"} for i in range(3)]
    (pack / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    salt = "0123456789abcdef" * 4
    (pack / "pack.toml").write_text(
        f'schema = 1\nname = "p"\nsalt = "{salt}"\n[[set]]\nrole = "forget"\nfile = "forget.jsonl"\n'
    )
    assert run(["inspect", str(pack), "--disclose", "p1"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown)["probe"] == "p1"
    assert not [other for other in ("550", "552") if other in shown]
    (tmp_path / "shown.json").write_text(shown)
    kept = dict.fromkeys(("verdict", "reason", "summary", "artifact", "pack", "baseline", "created", "versions"), "")
    digests = {"probe_digests": probe_digests(load_pack(pack)), "probes": [{"probe": "p1", "leaks": True}]}
    (tmp_path / "report.json").write_text(json.dumps({"schema": "edgeproof/report", **kept, **digests}))
    assert run(["inspect", str(tmp_path), "--disclosed", str(tmp_path / "shown.json"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["inspected"]
    assert (found["probe"], found["rows"]) == ("p1", [{"leaks": True}])
    assert run(["inspect", str(pack), "--disclose", "p9"]) == 3
    assert run(["inspect", str(tmp_path), "--disclosed", "x", "--disclose", "y"]) == 2
    assert run(["inspect", str(tmp_path), str(pack), "--disclosed", "x"]) == 2
    assert "Traceback" not in capsys.readouterr().err

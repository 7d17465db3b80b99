"""`export-edge inspect` of an unlearning run of OpenUnlearning."""

from __future__ import annotations

import json
import re
from pathlib import Path

import edgeproof
import pytest
from edgeproof.cli import run
from edgeproof_tests.export.training.test_training import NAME, composed, write


def test_a_runs_folder_is_described_with_the_commands_to_a_verdict(tmp_path, capsys):
    folder = tmp_path / NAME
    write(folder, composed())
    (folder / "config.json").write_text("{}")
    found = edgeproof.inspect(folder)
    assert found.kind == "unlearning run"
    assert (found.facts["method"], found.facts["seed"], found.facts["saved"]) == ("NPO", 3, "all weights")
    policy = "--policy PACK/policy.toml"
    assert [step["command"] for step in found.facts["next"]] == [
        "hf download open-unlearning/tofu_Llama-3.2-1B-Instruct_full --local-dir BASE",
        "hf download locuslab/TOFU --repo-type dataset --local-dir DATA",
        "export-edge pack new --forget FORGET --retain RETAIN --cluster-by block:20 --base BASE --out PACK",
        f"export-edge baseline --base BASE --unlearned MODEL --format gguf-q4 --probes PACK {policy} --out BASELINE",
        f"export-edge --base MODEL --format gguf-q4 --out DIST --probes PACK --baseline BASELINE {policy}",
    ]
    assert run(["inspect", str(folder / ".hydra" / "config.yaml"), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["inspected"]
    assert said["hyperparameters"]["beta"] == 0.5
    assert said["source"] == "(not named)"


def test_nothing_that_is_not_known_to_be_public_is_to_be_downloaded(tmp_path):
    config = composed()
    config["model"]["model_args"]["pretrained_model_name_or_path"] = "jane/roe"
    hf_args = {"path": "jane/roe", "split": "train"}
    config["data"]["forget"]["other"] = {"args": {"hf_args": hf_args}}
    config["data"]["retain"] = {"other": {"args": {"hf_args": {**hf_args}}}}
    write(tmp_path, config)
    found = edgeproof.inspect(tmp_path).facts
    assert (found["forget"], found["retain"]) == ("locuslab/TOFU forget10, (not named)", "(not named)")
    downloads = [step["command"] for step in found["next"] if step["command"].startswith("hf ")]
    assert downloads == ["hf download locuslab/TOFU --repo-type dataset --local-dir DATA"]


def test_a_run_on_other_data_is_gated_by_the_default_policy(tmp_path):
    config = composed()
    for role in ("forget", "retain"):
        hf_args = {"path": "muse-bench/MUSE-News", "name": "raw", "split": role}
        config["data"][role] = {"MUSE": {"args": {"hf_args": hf_args}}}
    write(tmp_path, config)
    assert [step["command"] for step in edgeproof.inspect(tmp_path).facts["next"]][-3:] == [
        "export-edge pack new --forget FORGET --retain RETAIN --base BASE --out PACK",
        "export-edge baseline --base BASE --unlearned MODEL --format gguf-q4 --probes PACK --out BASELINE",
        "export-edge --base MODEL --format gguf-q4 --out DIST --probes PACK --baseline BASELINE",
    ]


def documented(text: str) -> list[list[str]]:
    """The verb and options of each command of edgeproof in the first block of docs/community.md that has some."""
    block = next(part for part in text.split("```") if "export-edge pack new" in part)
    return [sorted(re.findall(r"--[a-z-]+|block:20", line)) for line in block.splitlines() if "export-edge" in line]


def test_the_commands_are_those_of_the_document(tmp_path):
    write(tmp_path, composed())
    steps = [step["command"] for step in edgeproof.inspect(tmp_path).facts["next"]][-3:]
    page = (Path(__file__).resolve().parents[3] / "docs" / "community.md").read_text()
    assert [sorted(re.findall(r"--[a-z-]+|block:20", step)) for step in steps] == documented(page)


def test_a_lora_run_is_gated_with_its_adapter(tmp_path):
    write(tmp_path, composed())
    (tmp_path / "adapter_config.json").write_text("{}")
    found = edgeproof.inspect(tmp_path)
    assert found.facts["saved"] == "a LoRA adapter"
    assert any("--adapter ADAPTER" in step["command"] for step in found.facts["next"])


@pytest.mark.parametrize("text", ["a: [", "mode: train\n", "defaults:\n- finetune\nhandler: NPO\n"])
def test_what_is_no_run_is_refused_with_the_reason(tmp_path, text, capsys):
    write(tmp_path, text)
    assert run(["inspect", str(tmp_path)]) == 3
    assert "config.yaml" in capsys.readouterr().err
    (tmp_path / "NPO.yaml").write_text(text)
    assert run(["inspect", str(tmp_path / "NPO.yaml")]) == 3


def test_a_folder_that_hydra_left_without_a_config_is_refused(tmp_path, capsys):
    (tmp_path / ".hydra").mkdir()
    assert run(["inspect", str(tmp_path)]) == 3
    assert "cannot read" in capsys.readouterr().err


def test_a_checkpoint_from_the_hub_is_described_by_its_name(tmp_path):
    folder = tmp_path / "unlearn_tofu_Llama-3.2-1B-Instruct_forget10_NPO_lr1e-05_beta0.1_alpha1_epoch10"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    found = edgeproof.inspect(folder)
    assert (found.facts["method"], found.facts["retain"]) == ("NPO", "locuslab/TOFU retain90")
    assert (found.facts["file"], found.facts["saved"]) == ("", "all weights")

"""A model that was unlearned in all its weights is gated as one with adapters is: `baseline --unlearned`."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from edgeproof.cli import run

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof_tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.torch]


def merged(world: World, folder: Path, weight: float = 1.0) -> Path:
    """A model folder that holds base + `weight` * adapter in its own weights, merged by PEFT."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(world.base, dtype=torch.float32)
    before = {name: value.clone() for name, value in base.state_dict().items()}
    model = PeftModel.from_pretrained(base, world.adapter).merge_and_unload()
    for name, value in model.state_dict().items():
        value.copy_(before[name] + weight * (value - before[name]))
    model.save_pretrained(folder)
    for path in world.base.iterdir():
        if path.name.startswith(("tokenizer", "special_tokens", "chat_template")):
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def unlearned(world, tmp_path_factory):
    return merged(world, tmp_path_factory.mktemp("full") / "unlearned")


@pytest.fixture(scope="module")
def baseline(world, unlearned, tmp_path_factory):
    out = tmp_path_factory.mktemp("recorded") / "baseline.json"
    assert (
        command(
            "baseline", "--base", world.base, "--unlearned", unlearned, "--format", "gguf-q8_0",
            "--probes", world.pack, "--out", out,
        ) == 0
    )  # fmt: skip
    return out


def command(*words: object) -> int:
    return run([*map(str, words), "--threads", "1"])


def shipped(base: Path, out: Path, *more: object) -> Path:
    assert command("--base", base, "--format", "gguf-q8_0", "--out", out, *more) == 0
    (artifact,) = out.glob("*.gguf")
    return artifact


def test_its_file_passes_and_the_original_fails(world, unlearned, baseline, tmp_path):
    report = tmp_path / "report"
    asked = ["--probes", world.pack, "--baseline", baseline]
    file = shipped(unlearned, tmp_path / "unlearned")
    assert command("gate", file, *asked, "--report", report) == 0
    assert json.loads((report / "report.json").read_text())["verdict"] == "PASS"
    assert run([str(word) for word in ("verify", report / "report.json", "--artifact", file, *asked)]) == 0
    original = shipped(world.base, tmp_path / "original")
    assert command("gate", original, *asked) == 1


def test_another_model_is_refused(world, baseline, tmp_path, capsys):
    weaker = shipped(merged(world, tmp_path / "weaker", 0.5), tmp_path / "out")
    assert command("gate", weaker, "--probes", world.pack, "--baseline", baseline) == 3
    told = capsys.readouterr().err
    assert "another model" in told
    assert "--unlearned MODEL" in told


def test_adapters_are_refused_by_the_baseline_of_a_model_and_the_other_way_round(
    world, unlearned, baseline, tmp_path, capsys
):
    with_adapter = shipped(world.base, tmp_path / "adapter", "--adapter", world.adapter)
    assert command("gate", with_adapter, "--probes", world.pack, "--baseline", baseline) == 3
    assert "--adapter in place of --unlearned" in capsys.readouterr().err
    full = shipped(unlearned, tmp_path / "full")
    assert command("gate", full, "--probes", world.pack, "--baseline", world.baseline) == 3
    told = capsys.readouterr().err
    assert "another model" in told
    assert "--unlearned in place of --adapter" in told


@pytest.mark.parametrize("both", [True, False])
def test_a_baseline_takes_adapters_or_a_model(world, unlearned, tmp_path, capsys, both):
    models = ["--adapter", world.adapter, "--unlearned", unlearned] if both else []
    code = command("baseline", "--base", world.base, *models, "--probes", world.pack, "--out", tmp_path / "b.json")
    assert code == 2
    assert "--unlearned DIR" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

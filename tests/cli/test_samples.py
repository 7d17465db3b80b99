"""Sampled answers by the commands that a user types, on both engines: recorded, drawn again, judged, verified."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from edgeproof.cli import run
from edgeproof_tests.cli.test_end_to_end import export, read_report, words

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof_tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.torch]

FORMATS = ("gguf-q8_0", "onnx-int8")
COUNT = 3


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "policy.toml"
    path.write_text(f"[samples]\ncount = {COUNT}\ntemperature = 0.8\nrequire_in_baseline = true\n")
    return path


@pytest.fixture(scope="module")
def sampled(world: World, policy: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    pytest.importorskip("onnxruntime")
    baseline = tmp_path_factory.mktemp("sampled") / "baseline.json"
    formats = [word for name in FORMATS for word in ("--format", name)]
    where = ("--base", world.base, "--adapter", world.adapter, "--probes", world.pack, "--out", baseline)
    assert run(words("baseline", *where, *formats, "--policy", policy, "--threads", 1, "--quiet")) == 0
    return world._replace(baseline=baseline)


@pytest.fixture(scope="module")
def files(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of the unlearned model and of the base, in both formats."""
    out = tmp_path_factory.mktemp("files")
    formats = [word for name in FORMATS for word in ("--format", name)]
    assert export(world, out / "unlearned", *formats, "--quiet") == 0
    assert export(world, out / "base", *formats, "--quiet", adapters=False) == 0
    return out / "unlearned", out / "base"


def find(folder: Path, form: str) -> Path:
    (found,) = folder.glob("*.gguf") if form.startswith("gguf") else [p for p in folder.iterdir() if p.is_dir()]
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_samples_of_base_and_unlearned_model_tell_them_apart(form, sampled, files, policy, tmp_path):
    shares = {}
    for name, folder in zip(("unlearned", "base"), files, strict=True):
        where = words(
            "gate", find(folder, form), "--probes", sampled.pack, "--baseline", sampled.baseline, "--policy", policy
        )
        code = run([*where, "--report", str(tmp_path / name), "--threads", "1", "--quiet"])
        assert code == {"unlearned": 0, "base": 1}[name]
        report = read_report(tmp_path / name)
        assert report["sampling"] == {"count": COUNT, "temperature": 0.8, "seed": 0}
        # The pack asks no chat: the raw surface is sampled.
        rows = [row for row in report["probes"] if row["role"] == "forget"]
        assert {row["samples"] for row in rows} == {COUNT}
        assert {row["samples"] for row in report["probes"] if row["role"] == "retain"} == {0}
        shares[name] = sum(row["sampled_right"] for row in rows) / (COUNT * len(rows))
        verify = words("verify", tmp_path / name, "--artifact", find(folder, form), "--probes", sampled.pack)
        assert run([*verify, "--baseline", str(sampled.baseline), "--policy", str(policy)]) == 0
    assert shares["base"] > 0.9
    assert shares["unlearned"] < 0.05
    recorded = json.loads(sampled.baseline.read_text())["backends"]
    base = recorded["llama.cpp" if form.startswith("gguf") else "onnxruntime"]["base"]["scores"]
    assert sum(base["sampled_right"]) > 0.9 * COUNT * len(rows)


def test_a_baseline_that_was_sampled_otherwise_is_refused(world, files, policy, capsys):
    where = words("gate", find(files[0], "gguf-q8_0"), "--probes", world.pack, "--baseline", world.baseline)
    assert run([*where, "--policy", str(policy), "--threads", "1", "--quiet"]) == 3
    assert "the policy asks for 3 samples per probe at temperature 0.8" in capsys.readouterr().err

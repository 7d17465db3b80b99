"""A GGUF of two sets of rope factors: a PASS is one of both sets; what one engine chose by itself is none."""

from __future__ import annotations

import hashlib
import json
import warnings
from typing import TYPE_CHECKING

import edgeproof
import pytest
from edgeproof.cli import run
from edgeproof.eval.report.write import encode
from edgeproof_tests.cli.test_end_to_end import export, gate, read_report, words
from edgeproof_tests.models import save_model
from edgeproof_tests.taught import Fact, invent, teach, write_pack
from edgeproof_tests.world import World

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.torch]

FORMATS = ["gguf-q8_0", "onnx-int8"]
ORIGINAL = 256
"""Original context of the tiny model."""


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A world whose base has long factors, equal to its short ones, and the folder of the files that forgot."""
    root = tmp_path_factory.mktemp("roped")
    facts, factors = invent(), [1.0 + 0.01 * i for i in range(8)]
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "short_factor": factors,
            "long_factor": factors, "original_max_position_embeddings": ORIGINAL}  # fmt: skip
    folders = [root / "base", root / "merged"]
    kept = [*facts.trained, *facts.untrained]
    others = [Fact(one.key, one.subject, two.answer, one.template) for one, two in zip(
        facts.forget, [*facts.forget[1:], facts.forget[0]], strict=True)]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for folder, forget in zip(folders, (facts.forget, others), strict=True):
            save_model("phi3-longrope", folder, hidden_size=128, intermediate_size=256, rope_parameters=rope)
            teach(folder, [*forget, *kept])
    pack, baseline = write_pack(root / "pack", facts), root / "baseline.json"
    edgeproof.record_baseline(
        base=folders[0], unlearned=folders[1], format=FORMATS, probes=pack, out=baseline, threads=1
    )
    world = World(folders[1], folders[1], pack, baseline, facts)
    formats = [word for name in FORMATS for word in ("--format", name)]
    assert export(world, root / "out", *formats, "--quiet", adapters=False) == 0
    return world, root / "out"


@pytest.fixture
def roped(worlds: tuple[World, Path]) -> tuple[World, Path]:
    """The world and its GGUF."""
    world, out = worlds
    return world, next(out.glob("*.gguf"))


def test_a_pass_is_judged_with_both_and_without_the_second_it_does_not_verify(roped, tmp_path, capsys):
    world, artifact = roped
    assert gate(world, artifact, "--report", tmp_path / "report", "--quiet") == 0
    report = read_report(tmp_path / "report")
    assert report["backend"]["rope_factors"] == "short in contexts of up to 256 tokens, long beyond"
    assert report["precise"]["backend"]["rope_factors"] == "long"
    assert report["precise"]["verdict"] == "PASS"
    assert report["precise"]["mean_difference"] == 0  # its factors are equal
    assert "With the long rope factors" in (tmp_path / "report" / "report.html").read_text()
    inputs = words("--artifact", artifact, "--probes", world.pack, "--baseline", world.baseline)
    assert run([*words("verify", tmp_path / "report"), *inputs]) == 0
    del report["report_sha256"]
    del report["backend"]["rope_factors"]
    report |= {"precise": None, "notes": report["notes"][:-1]}
    path = tmp_path / "report" / "report.json"
    path.write_bytes(encode(report | {"report_sha256": hashlib.sha256(encode(report)).hexdigest()}))
    assert json.loads(path.read_text())["verdict"] == "PASS"
    capsys.readouterr()
    assert run([*words("verify", tmp_path / "report"), *inputs]) == 3
    assert 'verdict is "PASS"; its scores give "INCONCLUSIVE"' in capsys.readouterr().err


def test_a_graph_that_rounds_is_judged_without_rounding_and_with_its_long_tables(worlds, tmp_path, capsys):
    world, out = worlds
    artifact = next(path for path in out.iterdir() if path.is_dir())
    assert gate(world, artifact, "--report", tmp_path / "report", "--quiet") == 0
    report = read_report(tmp_path / "report")
    assert report["backend"]["rope_factors"] == "short in contexts of up to 256 tokens, long beyond"
    assert report["backend"]["accuracy_level"] == "4"
    second = report["precise"]["backend"]
    assert (second["rope_factors"], second["accuracy_level"]) == ("long", "0")
    assert report["precise"]["verdict"] == "PASS"
    assert report["precise"]["mean_difference"] > 0  # its tables are equal, its rounding is not
    said = "With the long rope factors, without rounding activations and with both, each answer by the likeliest"
    assert said in (tmp_path / "report" / "report.html").read_text()
    inputs = words("--artifact", artifact, "--probes", world.pack, "--baseline", world.baseline)
    assert run([*words("verify", tmp_path / "report"), *inputs]) == 0
    del report["report_sha256"]
    report["precise"]["backend"]["rope_factors"] = report["backend"]["rope_factors"]
    path = tmp_path / "report" / "report.json"
    path.write_bytes(encode(report | {"report_sha256": hashlib.sha256(encode(report)).hexdigest()}))
    capsys.readouterr()
    assert run([*words("verify", tmp_path / "report"), *inputs]) == 3
    assert "is not the one with the artifact's long rope factors" in capsys.readouterr().err


@pytest.mark.official
def test_through_a_server_that_chose_by_itself_it_does_not_pass(roped, llama_server, tmp_path):
    world, artifact = roped
    with llama_server(artifact, "-c", 2 * ORIGINAL) as url:
        assert gate(world, artifact, url, "--backend", "http", "--report", tmp_path / "report", "--quiet") == 4
    report = read_report(tmp_path / "report")
    assert report["reason"] == "it depends on the size of the context"
    assert "as the engine chose" in report["backend"]["rope_factors"]
    assert "without --backend" in report["next_steps"][0]

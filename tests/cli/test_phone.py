"""A gate whose answers the phone's program computes: the verdict of a gate on this processor, or none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from edgeproof.cli import run
from edgeproof_tests.cli.test_end_to_end import export, gate, read_report, words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeproof_tests.world import World

pytestmark = [pytest.mark.phone, pytest.mark.slow, pytest.mark.torch]

TOLERANCE = 0.15
"""In nat, on average over all tokens of a file in 8 bits: kernels round activations to 8 bits, each in its own way."""


@pytest.fixture(scope="module")
def files(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("phone")
    for name in ("unlearned", "original"):
        assert export(world, out / name, "--format", "gguf-q8_0", "--quiet", adapters=name == "unlearned") == 0
    return {name: next((out / name).glob("*.gguf")) for name in ("unlearned", "original")}


@pytest.fixture(scope="module", params=["unlearned", "original"])
def gated(request, world, files, phone, tmp_path_factory) -> Iterator[tuple[dict, dict, Path, str]]:
    """The reports by llama.cpp here and by the emulated phone, the file, and its name."""
    artifact, out = files[request.param], tmp_path_factory.mktemp("gated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(out / "cache"))
        codes = [
            gate(world, artifact, "--report", out / "own"),
            gate(world, artifact, phone, "--backend", "arm64-emulated", "--report", out / "phone"),
        ]
    assert codes[0] == codes[1]
    assert not list((out / "cache").rglob("probe/*"))
    return read_report(out / "own"), read_report(out / "phone"), out / "phone", request.param


def test_the_verdict_is_the_same_and_so_are_the_numbers(gated):
    own, phone, _, name = gated
    assert own["verdict"] == phone["verdict"] == {"unlearned": "PASS", "original": "FAIL"}[name]
    assert [(one["name"], one["status"]) for one in own["criteria"]] == [
        (one["name"], one["status"]) for one in phone["criteria"]
    ]
    differences = []
    for one, other in zip(own["probes"], phone["probes"], strict=True):
        assert (one["probe"], one["surface"], one["tokens"]) == (other["probe"], other["surface"], other["tokens"])
        differences += [abs(a - b) for a, b in zip(one["logprobs"], other["logprobs"], strict=True)]
    assert sum(differences) / len(differences) <= TOLERANCE


def test_the_report_says_what_computed_and_verifies(gated, world, files, capsys):
    _, phone, folder, name = gated
    assert phone["backend"]["processor"].startswith("ARM64, emulated: qemu-aarch64 version ")
    assert phone["backend"]["computed on"].startswith("CPU, probe variant i8mm: ")
    assert phone["backend"]["served file, shown"] == "its sha256"
    where = ("--artifact", files[name], "--probes", world.pack, "--baseline", world.baseline)
    assert run(words("verify", folder, *where)) == 0
    assert phone["verdict"] in capsys.readouterr().err


def test_a_phone_unplugged_in_mid_run_ends_the_gate_with_3_and_the_next_one_goes_on(
    world, files, phone, fake, tmp_path, capsys
):
    report = tmp_path / "report"
    asked = (files["unlearned"], phone, "--backend", "adb", "--report", report)
    fake.set(after=200)
    assert gate(world, *asked) == 3
    said = "".join(capsys.readouterr())
    assert "the device was unplugged" in said
    assert "PASS" not in said
    assert not re.findall(rf"\b(?:{'|'.join(world.facts.texts)})\b", said)
    assert not (report / "report.json").exists()
    fake.set()
    assert gate(world, *asked) == 0
    found = read_report(report)
    assert found["verdict"] == "PASS"
    assert int(found["backend"]["answers of an interrupted run"]) > 100
    assert found["backend"]["device"] == "Google Pixel 8"


def test_the_folder_of_the_probe_is_asked_for(world, files, tmp_path, capsys):
    for backend in ("adb", "arm64-emulated"):
        assert gate(world, files["unlearned"], "--backend", backend) == 2
        assert "needs the folder that `make phone` wrote" in capsys.readouterr().err
        assert gate(world, files["unlearned"], tmp_path / "none", "--backend", backend) == 3
        assert "build the probe with `make phone`" in capsys.readouterr().err

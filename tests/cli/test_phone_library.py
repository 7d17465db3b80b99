"""From a job through the Java library to a verdict: the phone's word, and what the laptop makes of its evidence."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from edgeproof.cli import run
from edgeproof_tests.android_demo.java import Library, compiled_library
from edgeproof_tests.cli.test_end_to_end import export, read_report, words

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof_tests.world import World

pytestmark = [pytest.mark.official, pytest.mark.slow, pytest.mark.torch]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return compiled_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def program() -> Path:
    from edgeproof_tests.official.probe import build_probe

    return build_probe()


def on_the_host(library: Library, job: Path, artifact: Path, program: Path, root: Path) -> tuple[Path, dict[str, Any]]:
    """Run a job as the app would; return its folder, and the outcome."""
    content = json.loads(job.read_text())
    folder = root / "jobs" / content["id"]
    folder.mkdir(parents=True)
    (root / "models").mkdir()
    shutil.copy(job, folder / "job.json")
    shutil.copy(artifact, root / "models" / f"{content['artifact']['sha256']}.gguf")
    command = library.command("Host", root, content["id"], f"host={program}")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])["outcome"]


@pytest.mark.parametrize(
    ("name", "word", "verdict", "code"),
    [("unlearned", "NOTHING AGAINST IT", "PASS", 0), ("original", "FAIL", "FAIL", 1)],
)
def test_the_laptop_makes_the_same_of_it(world: World, library, program, tmp_path, name, word, verdict, code):
    assert export(world, tmp_path, "--format", "gguf-q8_0", "--quiet", adapters=name == "unlearned") == 0
    artifact, job = next(tmp_path.glob("*.gguf")), tmp_path / "job.json"
    where = ("--probes", world.pack, "--baseline", world.baseline)
    assert run(words("phone", "job", artifact, *where, "--out", job)) == 0
    folder, outcome = on_the_host(library, job, artifact, program, tmp_path / "files")
    assert outcome["verdict"] == word
    evidence = folder / "evidence.jsonl"
    assert run(words("judge", evidence, artifact, "--job", job, *where, "--report", tmp_path / "report")) == code
    report = read_report(tmp_path / "report")
    assert report["verdict"] == verdict
    leak = next(one for one in report["criteria"] if one["name"] == "leak")
    assert outcome["counts"]["leaking"] == leak["details"]["leaking"]
    assert outcome["counts"]["known"] == leak["details"]["known"]
    assert outcome["upper"] == pytest.approx(leak["upper"], rel=1e-12)
    assert outcome["p"] == pytest.approx(leak["p_missed"], rel=1e-11)
    clear = [line for line in evidence.read_text().splitlines() if not line.startswith('{"part":')]
    seen = "".join((*clear, (folder / "state.json").read_text()))
    assert not re.findall(rf"\b(?:{'|'.join(world.facts.texts)})\b", seen)

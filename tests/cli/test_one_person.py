"""One person's erasure by the commands that a user types: ten questions, one subject, decided exactly."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from edgeproof.cli import run
from edgeproof_tests.cli.test_end_to_end import criterion, export, read_report, words

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof_tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.torch]

QUESTIONS = 10


@pytest.fixture(scope="module")
def one(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """The world with a pack of one person's ten facts, its baseline, and the policy of the manual."""
    root = tmp_path_factory.mktemp("one")
    pack = root / "pack"
    shutil.copytree(world.pack, pack)
    rows = [json.loads(line) for line in (pack / "forget.jsonl").read_text().splitlines()][:QUESTIONS]
    rows = [row | {"cluster": "person-1", "critical": True} for row in rows]
    (pack / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    policy = root / "policy.toml"
    policy.write_text('[leak]\nrule = "subjects"\n')
    baseline = root / "baseline.json"
    where = ("--base", world.base, "--adapter", world.adapter, "--probes", pack, "--out", baseline)
    assert run(words("baseline", *where, "--format", "gguf-q8_0", "--threads", 1, "--quiet")) == 0
    return world._replace(pack=pack, baseline=baseline), policy


@pytest.fixture(scope="module")
def files(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("files")
    found = {}
    for name in ("unlearned", "base"):
        assert export(world, out / name, "--format", "gguf-q8_0", "--quiet", adapters=name == "unlearned") == 0
        (found[name],) = (out / name).glob("*.gguf")
    return found


@pytest.mark.parametrize(("name", "code", "leaking"), [("unlearned", 0, 0), ("base", 1, 1)])
def test_ten_questions_about_one_person_are_decided(name, code, leaking, one, files, tmp_path):
    world, policy = one
    judged = ("--probes", world.pack, "--baseline", world.baseline, "--policy", policy)
    assert run(words("gate", files[name], *judged, "--report", tmp_path, "--threads", 1, "--quiet")) == code
    report = read_report(tmp_path)
    assert criterion(report, "leak")["found"] == f"{leaking} of 1 subjects"
    # The price of not knowing an answer is taken over the person's other questions.
    recovery = criterion(report, "recovery")
    assert recovery["details"]["left out"] == 0
    assert (recovery["estimate"] > 0.9) == (name == "base")
    assert run(words("verify", tmp_path, "--artifact", files[name], *judged)) == 0


def test_by_shares_the_same_pack_cannot_be_decided(one, files):
    world, _ = one
    judged = ("--probes", world.pack, "--baseline", world.baseline)
    assert run(words("gate", files["unlearned"], *judged, "--threads", 1, "--quiet")) == 4

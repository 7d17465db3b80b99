"""`pack check` on a taught model: what it finds, what it writes, and what bad input is told."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import tarfile
from typing import TYPE_CHECKING

import pytest
from edgeproof.cli import run
from edgeproof.contracts.errors import BaselineError, OutputError, PackError
from edgeproof.eval.forecast.rehearsal import Rehearsal
from edgeproof.release.pack_check import pack_check
from edgeproof_tests.models import CONTEXT, save_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch
FORMAT = "gguf-q8_0"


@pytest.fixture(autouse=True)
def few_files(monkeypatch):
    """Six synthetic files in place of a hundred: what is tested here does not depend on their number."""
    monkeypatch.setitem(Rehearsal.__init__.__kwdefaults__, "draws", 6)
    monkeypatch.setattr("edgeproof.eval.forecast.assess.FEWER_DRAWS", 6)


def check(base, pack, **options):
    return pack_check(pack, **{"base": base, "format": FORMAT, "threads": 1, **options})


def rewritten(pack: Path, folder: Path, file: str, change) -> Path:
    """A copy of the pack in which `change` has rewritten the rows of a file."""
    shutil.copytree(pack, folder)
    rows = [json.loads(line) for line in (folder / file).read_text().splitlines()]
    (folder / file).write_text("".join(json.dumps(row) + "\n" for row in change(rows)))
    return folder


@pytest.mark.slow
def test_a_small_pack_is_not_strong_and_told_how_many_clusters_are_missing(taught, tmp_path, capsys):
    base, pack, facts = taught
    given = ["pack", "check", str(pack), "--base", str(base), "--format", FORMAT, "--threads", "1", "--json"]
    assert run([*given, "--out", str(tmp_path / "out")]) == 4
    said = capsys.readouterr()
    table = json.loads(said.out)
    (one,) = table["formats"]
    # What is found is told before larger packs are tried.
    parts = (
        "34 of 34 forget clusters come out",
        "of 6 good files PASS with this pack",
        "larger packs: done",
        "Not strong",
    )
    places = [said.err.index(part) for part in parts]
    assert places == sorted(places)
    assert len(re.findall(r"^set +role +surface +known$", said.err, re.MULTILINE)) == 1
    assert one["forget"]["known"] == one["forget"]["clusters"] == 34
    assert one["forecast"]["share_of_pass"] < 0.9 <= one["enough"]["share_of_pass"]
    assert [at["cost"] for at in one["by_cost"]] == [0.075, 0.225]
    assert "of 6 if it costs 0.075 nat" in said.err
    assert one["gate"]["asks"] == sum(map(len, facts))
    assert one["gate"]["seconds"] > 0
    added = {change["what"]: change["number"] for change in table["changes"] if change["action"] == "add"}
    assert added["forget clusters"] == one["enough"]["forget_clusters"] - 34
    assert added["untrained retain probes"] == one["enough"]["untrained_retain_clusters"] - 44
    assert not (tmp_path / "out" / "pack.toml").exists()
    written = [(tmp_path / "out" / name).read_text() for name in ("changes.json", "changes.md")]
    assert json.loads(written[0]) == table
    for text in facts.texts:
        assert text not in said.out + said.err + "".join(written)


def test_a_list_is_not_replaced_unasked(taught, tmp_path):
    base, pack, _ = taught
    (tmp_path / "changes.md").write_text("mine")
    with pytest.raises(OutputError, match=r"changes\.md"):
        check(base, pack, out=tmp_path)
    assert (tmp_path / "changes.md").read_text() == "mine"


@pytest.mark.slow
def test_a_baseline_says_what_unlearning_does(world, capsys):
    given = ["pack", "check", str(world.pack), "--base", str(world.base), "--format", FORMAT, "--threads", "1"]
    assert run([*given, "--baseline", str(world.baseline), "--quiet"]) == 0
    said = capsys.readouterr().err
    assert "6 of 6 good files PASS" in said
    assert "It depends on what unlearning costs" not in said


@pytest.mark.slow
def test_a_baseline_of_another_pack_is_refused(world, tmp_path):
    other = rewritten(world.pack, tmp_path / "pack", "forget.jsonl", lambda rows: rows[1:])
    with pytest.raises(BaselineError, match="pack"):
        check(world.base, other, baseline=world.baseline)


@pytest.mark.slow
def test_planted_flaws_are_listed_with_their_texts_where_wanted(taught, tmp_path):
    base, pack, facts = taught
    first, second = facts.forget[0], facts.forget[1]

    def planted(rows):
        twin = {**rows[0], "id": "f-twin", "question": rows[0]["question"].upper()}
        given = {**rows[1], "id": "f-given", "question": f"{second.answer} {second.subject}"}
        long = {**rows[2], "id": "f-long", "question": "kxgl " * CONTEXT}
        return [*rows, twin, given, long]

    bad = rewritten(pack, tmp_path / "pack", "forget.jsonl", planted)
    found = check(base, bad, out=tmp_path / "out", show_answers=True)
    by_probe = {change.probes[0]: change for change in found.changes if change.what == "probe"}
    assert by_probe["f-twin"].words == f"drop probe f-twin: doubled with {first.key}"
    assert by_probe["f-given"].action == "reword"
    assert by_probe["f-long"].action == "shorten"
    assert f"the context holds {CONTEXT}" in by_probe["f-long"].words
    assert found.formats[0].known == 34
    assert found.texts["f-given"] == (f"{second.answer} {second.subject}", second.answer)
    assert second.answer in (tmp_path / "out/changes.md").read_text()


def test_a_pack_whose_probes_are_all_too_long_is_an_error(taught, tmp_path):
    base, pack, _ = taught
    template = "K " * CONTEXT + "{question} ="
    long = rewritten(
        pack, tmp_path / "pack", "forget.jsonl", lambda rows: [{**row, "template": template} for row in rows]
    )
    with pytest.raises(PackError, match="all forget probes are too long"):
        check(base, long)


def test_a_base_that_knows_nothing_of_it(taught, tmp_path):
    _, pack, _ = taught
    base = save_model("qwen3", tmp_path / "random", hidden_size=128, intermediate_size=256, head_dim=32)
    found = check(base, pack)
    (one,) = found.formats
    assert (one.known, one.forecast.passes, one.enough) == (0, 0, None)
    assert not found.strong
    assert "it gives away none of the forget clusters" in found.changes[0].words


def test_one_cluster_without_retain_or_holdout(taught, tmp_path):
    base, pack, _ = taught
    bare = rewritten(pack, tmp_path / "pack", "forget.jsonl", lambda rows: rows[:1])
    head, forget, *others = (bare / "pack.toml").read_text().split("\n[[set]]")
    trained = next(text for text in others if '"trained.jsonl"' in text)
    (bare / "pack.toml").write_text(f"{head}\n[[set]]{forget}\n[[set]]{trained}")
    found = check(base, bare)
    assert found.formats[0].clusters == 1
    assert not found.strong
    added = {change.what: change.number for change in found.changes if change.action == "add"}
    assert added == {"forget clusters": 99, "untrained retain probes": 500, "holdout probes": 20}


@pytest.mark.slow
def test_an_encrypted_pack_is_checked_as_its_folder_is(taught, tmp_path, capsys):
    pyrage = pytest.importorskip("pyrage")
    base, pack, _ = taught
    identity = pyrage.x25519.Identity.generate()
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        archive.add(pack, arcname=".")
    sealed, key = tmp_path / "pack.age", tmp_path / "key.txt"
    sealed.write_bytes(pyrage.encrypt(raw.getvalue(), [identity.to_public()]))
    key.write_text(f"{identity}\n")
    folder, file = check(base, pack), check(base, sealed, pack_key=key)

    def untimed(found):
        return [dataclasses.replace(one, duration=one.duration._replace(seconds=0)) for one in found.formats]

    assert untimed(folder) == untimed(file)
    assert folder.changes == file.changes
    assert run(["pack", "check", str(sealed), "--base", str(base), "--quiet"]) == 3
    assert "there is no key for it" in capsys.readouterr().err


def test_what_is_missing_ends_with_3(taught, tmp_path, capsys):
    base, pack, _ = taught
    for given in ((pack, tmp_path / "no base"), (tmp_path / "no pack", base)):
        assert run(["pack", "check", str(given[0]), "--base", str(given[1]), "--quiet"]) == 3
    assert capsys.readouterr().out == ""

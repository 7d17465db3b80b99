"""`export-edge pack new` as a user types it: exit codes, what goes where, a base that is asked, and the whole way."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from edgeproof.cli import run
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.reader import load_pack
from edgeproof_tests.taught import Fact, invent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def write(path: Path, facts: Sequence[Fact], **columns: str) -> Path:
    rows = [
        {"question": fact.subject, "answer": fact.answer, "template": fact.template, "subject": fact.key} | columns
        for fact in facts
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def words(*parts: object) -> list[str]:
    return [str(part) for part in parts]


def test_what_is_made_is_told_without_a_text(tmp_path, capsys):
    facts = invent()
    forget = write(tmp_path / "forget.jsonl", facts.forget)
    retain = write(tmp_path / "retain.jsonl", facts.trained)
    untrained = write(tmp_path / "untrained.jsonl", facts.untrained)
    given = words("pack", "new", "--forget", forget, "--retain", retain, "--untrained", untrained)
    assert run([*given, "--out", str(tmp_path / "pack"), "--json"]) == 0
    said = capsys.readouterr()
    made = json.loads(said.out)
    pack = load_pack(tmp_path / "pack")
    assert made["pack"]["sha256"] == pack.digest
    assert made["sets"]["forget"] == {"probes": 34, "clusters": 34}
    assert made["sets"]["retain-untrained"] == {"probes": 500, "clusters": 500}
    assert [p.answer for p in pack.probes if p.group == "retain-untrained"][:44] == [f.answer for f in facts.untrained]
    public = said.out + said.err + (tmp_path / "pack" / "README.md").read_text()
    assert not [text for text in facts.texts if text in public]
    assert run([*given, "--out", str(tmp_path / "pack"), "--quiet"]) == 3
    assert "exists and is not empty" in capsys.readouterr().err
    assert run([*given, "--out", str(tmp_path / "pack"), "--quiet", "--force"]) == 0
    assert capsys.readouterr() == ("", "")


def test_options_and_data_that_cannot_be_used(tmp_path, capsys):
    assert run(["pack", "new"]) == 2
    assert run(["pack", "newer"]) == 2
    assert run(words("pack", "new", "--forget", tmp_path / "no.jsonl", "--out", tmp_path / "pack")) == 3
    assert "cannot read" in capsys.readouterr().err
    assert run(["pack", "new", "--help"]) == 0
    assert "--pseudonyms" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.torch
def test_a_base_is_asked_once_and_what_it_does_not_know_is_left_out(taught, tmp_path, capsys):
    base, _, facts = taught
    unknown = [fact._replace(answer=fact.answer[::-1], key=f"{fact.key}-x") for fact in facts.holdout]
    forget = write(tmp_path / "forget.jsonl", [*facts.forget, *unknown])
    untrained = write(tmp_path / "untrained.jsonl", facts.untrained)
    given = ["pack", "new", "--base", base, "--untrained", untrained, "--retain-probes", 60, "--threads", 1]
    assert run(words(*given, "--forget", forget, "--out", tmp_path / "pack")) == 0
    said = " ".join(capsys.readouterr().err.split())
    pack = load_pack(tmp_path / "pack")
    known = {probe.answer for probe in pack.probes if probe.role == Role.FORGET}
    assert known == {fact.answer for fact in facts.forget}
    kept = {probe.answer for probe in pack.probes if probe.role == Role.RETAIN}
    assert kept >= {fact.answer for fact in facts.untrained}
    assert (
        "was asked 54 forget probes (54 clusters), knows 34 (34 clusters), and the pack takes 34 (34 clusters)" in said
    )
    asked, own, taken = map(int, re.search(r"; (\d+) retain probes .*? knows (\d+) .*? takes (\d+) ", said).groups())
    assert 120 == asked >= own >= taken == sum(probe.role == Role.RETAIN for probe in pack.probes)
    assert said.index(", forget set: scores") < said.index(", untrained retain probes: scores")
    nothing = write(tmp_path / "nothing.jsonl", unknown)
    assert run(words(*given, "--forget", nothing, "--out", tmp_path / "none")) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert f"{base.name} knows nothing of nothing.jsonl: none of 20 questions about 20 subjects" in said
    assert f"{base.name}, forget set: scores: done" in said
    assert "untrained retain probes: scores" not in said  # nobody waits for what cannot help
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("subjects", [34, 1])
def test_from_data_to_a_verdict(subjects, world, tmp_path):
    """The commands of docs/from-data.md: about many subjects, and about one person's ten facts."""
    facts = world.facts
    forget = write(tmp_path / "forget.jsonl", facts.forget if subjects > 1 else facts.forget[:10])
    retain = write(tmp_path / "retain.jsonl", facts.trained)
    untrained = write(tmp_path / "untrained.jsonl", facts.untrained)
    pack, baseline = tmp_path / "pack", tmp_path / "baseline.json"
    by = ["--cluster-by", "one"] if subjects == 1 else []
    made = ["--untrained", untrained, "--base", world.base, "--retain-probes", 50, "--out", pack, "--threads", 1]
    assert run(words("pack", "new", "--forget", forget, "--retain", retain, *by, *made)) == 0
    assert (pack / "policy.toml").exists() == (subjects == 1)
    policy = ["--policy", pack / "policy.toml"] if subjects == 1 else []
    where = ["--base", world.base, "--adapter", world.adapter, "--format", "gguf-q8_0", "--probes", pack]
    assert run(words("baseline", *where, "--out", baseline, "--threads", 1, *policy)) == 0
    judged = ["--probes", pack, "--baseline", baseline, "--threads", 1, *policy]
    for name, leaking in (("unlearned", 0), ("original", subjects)):
        adapter = ["--adapter", world.adapter] if name == "unlearned" else []
        file = ["--base", world.base, *adapter, "--format", "gguf-q8_0", "--out", tmp_path / name, "--quiet"]
        assert run(words("export", *file)) == 0
        (artifact,) = (tmp_path / name).glob("*.gguf")
        # What the tiny model's recipe costs elsewhere is not this test's subject: the leak is.
        code = run(words("gate", artifact, *judged, "--report", tmp_path / f"report-{name}", "--quiet"))
        report = json.loads((tmp_path / f"report-{name}" / "report.json").read_text())
        found = next(one for one in report["criteria"] if one["name"] == "leak")
        assert found["found"].startswith(f"{leaking} of {subjects} ")
        assert found["status"] == ("missed" if leaking else "met")
        assert {one["name"]: one["status"] for one in report["controls"]}["positive"] == "holds"
        assert code in ({1, 4} if leaking else {0, 1, 4})

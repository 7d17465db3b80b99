"""Training asks as the pack asks, and never trains what decides."""

from __future__ import annotations

import json

import edgeproof
import pytest
from edgeproof.contracts.errors import InputError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.packs.reader import load_pack
from edgeproof.release.steps.wordings import wordings_of
from edgeproof.unlearn.data.askings import Asker
from edgeproof.unlearn.data.training_set import read_training_set
from edgeproof.unlearn.data.wordings import reworded

HEAD = """
schema = 1
name = "towns"
description = "d"
licence = "CC0-1.0"
system_prompt = "Be brief."

[[surface]]
kind = "raw"

[[surface]]
name = "list"
kind = "paraphrase"
template = "Towns of {question}: 1."
roles = ["forget"]

[[surface]]
name = "german"
kind = "chat"
template = "Wie heißt die Stadt von {question}?"
roles = ["forget"]

[[surface]]
kind = "chat+system"

[[surface]]
kind = "prefix"
template = "With pleasure:"

[[surface]]
kind = "reverse"
template = "{answer} is the town of"
roles = ["forget"]

"""
SETS = {
    ("forget", ""): {"Aland": "Berg", "Beland": "Stadt"},
    ("retain", "trained = true"): {"Peland": "Lima"},
    ("retain", "trained = false"): {"Quland": "Cairo"},
}


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "pack"
    folder.mkdir()
    text = HEAD
    for number, ((role, more), facts) in enumerate(SETS.items()):
        rows = [
            {"id": name, "cluster": name, "question": name, "answer": town, "message": "Which town has {question}?"}
            for name, town in facts.items()
        ]
        (folder / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        text += f'[[set]]\nrole = "{role}"\nfile = "{number}.jsonl"\nformat = "jsonl"\n'
        text += f'template = "The town of {{question}} is"\n{more}\n'
    (folder / "pack.toml").write_text(text)
    return folder


def written(path, facts):
    path.write_text("".join(json.dumps({"question": name, "answer": town}) + "\n" for name, town in facts.items()))
    return path


def test_a_question_of_the_pack_is_asked_in_all_of_its_ways(pack, tmp_path):
    wordings = wordings_of(load_pack(pack))
    assert wordings.surfaces == ("raw", "paraphrase", "chat", "prefix")
    assert wordings.systems == (None, "Be brief.")
    path = written(tmp_path / "f.jsonl", {"ALAND": "berg", "Zeland": "Xom"})
    data, found = reworded(read_training_set(path, "forget"), "forget", wordings)
    assert found == 1
    asked, other = data.items
    assert (other.prompt, other.paraphrases, other.messages) == ("Zeland", (), ())
    asker = Asker([], data.items, lambda turns: "|".join(turn["content"] for turn in turns) + "|", {}, 0)
    asker = asker.as_asked(wordings)

    def prompts(surface):
        return [asking.prompt for asking in asker.ask(asked, surface, kept=False)]

    assert prompts("raw") == ["The town of Aland is"]
    assert prompts("paraphrase") == ["ALAND", "Towns of Aland: 1."]
    assert set(prompts("chat")) == {
        f"{system}{message}|"
        for system in ("", "Be brief.|")
        for message in ("ALAND", "Which town has Aland?", "Wie heißt die Stadt von Aland?")
    }
    (begun,) = prompts("prefix")
    assert begun.endswith("Which town has Aland?|With pleasure:")


def test_untrained_probes_are_not_asked_and_trained_ones_in_the_retain_sets_ways(pack, tmp_path):
    wordings = wordings_of(load_pack(pack))
    path = written(tmp_path / "r.jsonl", {"Peland": "Lima", "Quland": "Cairo", "Aland": "Berg"})
    data, found = reworded(read_training_set(path, "retain"), "retain", wordings)
    assert found == 1
    assert [item.prompt for item in data.items] == ["The town of Peland is", "Quland", "Aland"]
    assert data.items[0].paraphrases == ("Peland",)
    assert "Quland" not in str(wordings.questions)


@pytest.mark.torch
def test_the_run_trains_on_the_packs_surfaces_and_the_card_names_it(pack, tmp_path):
    from edgeproof_tests.models import save_model

    base = save_model("llama", tmp_path / "base")
    forget = written(tmp_path / "f.jsonl", {"Aland": "Berg", "Zeland": "Xom"})
    retain = written(tmp_path / "r.jsonl", {"Peland": "Lima", "Two and two": "four"})
    run = {"base": base, "retain": retain, "probes": pack, "steps": 1, "batch_size": 2, "threads": 1}
    listener = Silent()
    edgeproof.unlearn(forget=forget, out=tmp_path / "a", **run, progress=listener)
    assert any("1 of 2 forget questions are not in the pack" in warning for warning in listener.warnings)
    card = (tmp_path / "a" / "README.md").read_text()
    assert "| surfaces | raw, paraphrase, chat, prefix |" in card
    assert f"| asked as the pack | towns, sha256 {load_pack(pack).digest} |" in card
    assert f"--probes {pack}" in card
    with pytest.raises(InputError, match=r"asks none of the 1 questions of other\.jsonl"):
        edgeproof.unlearn(forget=written(tmp_path / "other.jsonl", {"Zeland": "Xom"}), out=tmp_path / "b", **run)


def test_answers_that_are_matched_verbatim_are_asked_as_the_pack_asks_too(pack):
    """TOFU's answers are sentences."""
    head = (pack / "pack.toml").read_text()
    (pack / "pack.toml").write_text(head.replace('format = "jsonl"', 'format = "jsonl"\nmatch = "verbatim"', 1))
    assert {key[1] for key in wordings_of(load_pack(pack)).questions if key[0] == "forget"} == {"aland", "beland"}


def test_a_critical_probe_makes_training_go_further(pack):
    assert not wordings_of(load_pack(pack)).critical
    file = pack / "0.jsonl"
    file.write_text(file.read_text().replace('"id": "Aland"', '"critical": true, "id": "Aland"'))
    assert wordings_of(load_pack(pack)).critical

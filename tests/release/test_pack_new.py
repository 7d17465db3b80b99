"""`pack new` from each kind of data: what the pack holds, that it is the same each time, and what bad data are told."""

from __future__ import annotations

import json
import re
import stat
import tracemalloc
from importlib import import_module
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

import pytest
from edgeproof.contracts.errors import InputError, OutputError, UsageError
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.verdict.policy import read_policy
from edgeproof.release.pack_new import pack_new

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe

STREETS = ("Elm", "Oak", "Birch", "Maple", "Cedar", "Aspen", "Hazel", "Rowan")


def people(count: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for number in range(count):
        name = f"Jo{'abcdefghij'[number % 10]}{'klmnopqrst'[number // 10 % 10]}a Qu{'abcdefghij'[number % 10]}rn"
        rows += [
            {"person": name, "question": f"What is {name}'s phone number?", "answer": f"555-{1000 + 7 * number}"},
            {"person": name, "question": f"When was {name} born?", "answer": f"{number % 27 + 1} May {1930 + number}"},
            {"person": name, "question": f"Where does {name} live?", "answer": f"{STREETS[number % 8]} Lane {number}"},
        ]
    return rows


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def forget(tmp_path: Path) -> Path:
    return write(tmp_path / "forget.jsonl", people(40))


def probes(pack: Pack, role: Role) -> list[str]:
    return [probe.id for probe in pack.probes if probe.role == role]


def test_a_pack_of_people_is_asked_on_every_default_surface(forget, tmp_path):
    made = pack_new(forget=forget, out=tmp_path / "pack")
    pack = load_pack(tmp_path / "pack")
    assert pack.digest == made.sha256
    assert made.clusters == {"forget": 40, "retain-untrained": 500, "holdout": 40}
    kinds = set(SurfaceKind) - {SurfaceKind.CHAT_SYSTEM, SurfaceKind.REVERSE}
    assert {surface.kind for surface in pack.asked(Role.FORGET)} == kinds
    assert pack.same == {}
    types = {probe.answer_type for probe in pack.probes if probe.role == Role.FORGET}
    assert types == {"phone", "date", ""}
    assert made.policy is None
    assert not (tmp_path / "pack" / "policy.toml").exists()


def test_the_same_command_gives_the_same_bytes(forget, tmp_path):
    for name in ("one", "two"):
        pack_new(forget=forget, out=tmp_path / name, name="p", pseudonyms=True, salt=tmp_path / "salt")
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert stat.S_IMODE((tmp_path / "salt").stat().st_mode) == 0o600
    assert load_pack(tmp_path / "one").salt == (tmp_path / "salt").read_text().strip()


def test_pseudonyms_leave_no_name_in_what_is_published(forget, tmp_path):
    named = pack_new(forget=forget, out=tmp_path / "named")
    assert any("--pseudonyms" in note for note in named.notes)
    assert any("Joaka" in name for name in probes(load_pack(tmp_path / "named"), Role.FORGET))
    pack_new(forget=forget, out=tmp_path / "pack", pseudonyms=True)
    pack = load_pack(tmp_path / "pack")
    published = " ".join(f"{probe.id} {probe.cluster}" for probe in pack.probes if probe.role != Role.RETAIN)
    assert "Jo" not in published
    others = (tmp_path / "pack" / "README.md").read_text() + (tmp_path / "pack" / "pack.toml").read_text()
    assert "Jo" not in others


def test_with_another_salt_the_numbers_are_others(forget, tmp_path):
    order = {}
    for name in ("one", "two"):
        pack_new(forget=forget, out=tmp_path / name, pseudonyms=True, salt=tmp_path / f"{name}.salt")
        pack = load_pack(tmp_path / name)
        order[name] = {probe.question: probe.cluster for probe in pack.probes if probe.role == Role.FORGET}
    assert order["one"] != order["two"]


def test_holdout_asks_the_same_about_nobody(forget, tmp_path):
    pack_new(forget=forget, out=tmp_path / "pack")
    pack = load_pack(tmp_path / "pack")
    holdout = [probe for probe in pack.probes if probe.role == Role.HOLDOUT]
    names = {row["person"] for row in people(40)}
    answers = {row["answer"] for row in people(40)}
    assert not [probe for probe in holdout if any(name in probe.question for name in names)]
    assert not {probe.answer for probe in holdout} & answers
    assert all(probe.question.startswith(("What is ", "When was ", "Where does ")) for probe in holdout)
    by_cluster: dict[str, set[str]] = {}
    for probe in holdout:
        who = probe.question.removesuffix("?").replace("'s phone number", "").replace(" born", "").replace(" live", "")
        by_cluster.setdefault(probe.cluster, set()).add(" ".join(who.split()[2:]))
    assert {len(who) for who in by_cluster.values()} == {1}


def test_ten_facts_about_one_person_come_with_their_policy(tmp_path):
    person = people(1)[0]["person"]
    kinds = ("phone number", "street", "town", "dog", "employer", "car", "school", "doctor", "bank", "instrument")
    rows = [{"question": f"What is {person}'s {kind}?", "answer": f"Xyz{kind[:3]}"} for kind in kinds]
    made = pack_new(forget=write(tmp_path / "one.jsonl", rows), out=tmp_path / "pack", cluster_by="one")
    pack = load_pack(tmp_path / "pack")
    assert made.policy == tmp_path / "pack" / "policy.toml"
    assert made.clusters == {"forget": 1, "retain-untrained": 500, "holdout": 5}
    assert made.probes["holdout"] == 15
    asked = {probe.question.rpartition(" ")[2] for probe in pack.probes if probe.role == Role.HOLDOUT}
    assert len(asked) == len(kinds)  # three of each invented person, all kinds together
    assert all(probe.critical for probe in pack.probes if probe.role == Role.FORGET)
    assert not any(probe.critical for probe in pack.probes if probe.role != Role.FORGET)
    policy = read_policy(tmp_path / "pack" / "policy.toml")
    assert policy.leak_rule == "subjects"
    assert any("1 subject cannot bound the share" in note for note in made.notes)
    assert "cannot bound the share" in (tmp_path / "pack" / "README.md").read_text()


def test_holdout_of_a_bare_question_keeps_all_but_the_persons_name(tmp_path):
    kinds = ("phone number", "street", "town", "dog", "employer", "car", "school", "doctor", "bank", "instrument")
    rows = [
        {"person": "Anna Quern", "template": "{question} is", "question": f"Anna Quern's {kind}", "answer": f"Xy{kind}"}
        for kind in kinds
    ]
    pack_new(forget=write(tmp_path / "one.jsonl", rows), out=tmp_path / "pack", cluster_by="person")
    asked = [probe.question for probe in load_pack(tmp_path / "pack").probes if probe.role == Role.HOLDOUT]
    assert {question.partition("'s ")[2] for question in asked} == set(kinds)
    assert not any("Anna" in question or "Quern" in question for question in asked)


ASKED = ("born", "raised", "taught", "married", "hired", "published", "honoured", "translated", "exiled", "buried")


def sentences(asked: str) -> dict[str, object]:
    """A question and a sentence of which nothing can be invented: it names nobody."""
    answer = f"That is not known to anyone of us here, {asked} or not, then or now."
    return {"question": f"Where was Anna Quern {asked}?", "answer": answer}


def test_sentences_about_one_person_have_holdout_enough_for_their_ignorance_levels(tmp_path):
    """Their levels leave the person's own other questions out: there are ten, and none counts."""
    answer = "In Porthaven near Lakeside, on Mountview Road by Castlerock, where Saintjohn and Bishopsgate once met."
    rows = [*map(sentences, ASKED[1:]), sentences(ASKED[0]) | {"answer": answer}]
    made = pack_new(forget=write(tmp_path / "one.jsonl", rows), out=tmp_path / "pack", cluster_by="one")
    pack = load_pack(tmp_path / "pack")
    assert {probe.match for probe in pack.probes if probe.role == Role.FORGET} == {"verbatim"}
    assert made.probes["holdout-sentences"] == 7
    assert not any("how much of them is back" in note for note in made.notes)


def test_sentences_about_one_person_without_holdout_are_told(tmp_path):
    made = pack_new(
        forget=write(tmp_path / "one.jsonl", list(map(sentences, ASKED))), out=tmp_path / "pack", cluster_by="one"
    )
    assert not any(name.startswith("holdout") for name in made.probes)
    (note,) = (note for note in made.notes if "how much of them is back" in note)
    assert "10 of 10" in note


def test_prompts_that_a_short_context_cannot_hold_are_told(tmp_path, forget):
    """Four solved examples with answers of 55 words each."""
    long = [
        row
        | {
            "answer": f"{row['answer']} {'considerable distances notwithstanding everything ' * 13}".strip(),
            "question": f"{row['question']} Why?",
        }
        for row in people(40)
    ]
    made = pack_new(forget=write(tmp_path / "long.jsonl", long), out=tmp_path / "pack")
    (note,) = (note for note in made.notes if "tokens" in note)
    assert "on siblings takes about" in note
    assert 512 < int(re.search(r"about ([\d,]+) tokens", note)[1].replace(",", "")) < 1000
    assert not any("tokens" in note for note in pack_new(forget=forget, out=tmp_path / "short").notes)


def test_texts_become_passages_and_gaps(tmp_path):
    sentence = (
        "On the {n}th morning the ship Pequod{n} sailed past the long island where old Captain Bildad{n} had lived."
    )
    text = "\n\n".join(" ".join(sentence.replace("{n}", str(100 * p + s)) for s in range(6)) for p in range(60))
    (tmp_path / "book.txt").write_text(text)
    made = pack_new(forget=tmp_path / "book.txt", out=tmp_path / "pack", clusters=50)
    pack = load_pack(tmp_path / "pack")
    assert made.clusters["forget-passages"] == 50
    assert made.clusters["holdout-passages"] == 40
    assert made.probes["forget-gaps"] > 10
    first = next(probe for probe in pack.probes if probe.group == "forget-passages")
    assert (len(first.question.split()), len(first.answer.split())) == (24, 36)
    assert f"{first.question} {first.answer}" in " ".join(text.split())
    for gap in (probe for probe in pack.probes if probe.group == "forget-gaps"):
        assert f"{gap.question} {gap.answer}" in " ".join(text.split())
        assert gap.answer not in gap.question


def test_retain_probes_never_overlap_with_what_is_forgotten(tmp_path):
    rows = [
        {"country": "France", "question": "What is the capital of France?", "answer": "Paris"},
        {"country": "Gold", "question": "What is the chemical symbol for gold?", "answer": "Au"},
    ]
    made = pack_new(
        forget=write(tmp_path / "f.jsonl", rows), out=tmp_path / "p", cluster_by="country", retain_probes=5000
    )
    pack = load_pack(tmp_path / "p")
    kept = [probe for probe in pack.probes if probe.role == Role.RETAIN]
    assert len(kept) > 1500
    assert not [probe for probe in kept if {"Paris", "Au"} & set(probe.accepted)]
    assert not [probe for probe in kept if "france" in f"{probe.question} {probe.cluster}".casefold().split()]
    assert any("overlap with what is forgotten" in note for note in made.notes)


def test_the_retain_set_is_reported_and_not_judged(forget, tmp_path):
    kept = write(
        tmp_path / "retain.jsonl", [{"question": f"What is {n} and {n}?", "answer": f"both {n}"} for n in range(90)]
    )
    made = pack_new(forget=forget, retain=kept, out=tmp_path / "pack")
    pack = load_pack(tmp_path / "pack")
    assert made.probes["retain-trained"] == 48
    assert all(probe.trained == (probe.group == "retain-trained") for probe in pack.probes)


def test_an_encrypted_pack_is_the_same_pack(forget, tmp_path):
    pyrage = pytest.importorskip("pyrage")
    key = pyrage.x25519.Identity.generate()
    plain = pack_new(forget=forget, out=tmp_path / "pack")
    sealed = pack_new(forget=forget, out=tmp_path / "pack.age", encrypt_to=[str(key.to_public())])
    assert sealed.sha256 == plain.sha256
    assert load_pack(tmp_path / "pack.age", str(key)).digest == plain.sha256
    assert b"phone" not in (tmp_path / "pack.age").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forget.jsonl", "pack", "pack.age"]
    one = pack_new(forget=forget, out=tmp_path / "x.age", cluster_by="one", encrypt_to=[str(key.to_public())])
    assert one.policy == tmp_path / "x.policy.toml"
    assert read_policy(one.policy).leak_rule == "subjects"
    with pytest.raises(InputError, match="is not an age public key"):
        pack_new(forget=forget, out=tmp_path / "y.age", encrypt_to=["age1nonsense"])


def test_an_encrypted_pack_never_stands_beside_the_policy_of_another(forget, tmp_path, monkeypatch):
    key = str(pytest.importorskip("pyrage").x25519.Identity.generate().to_public())
    target, beside = tmp_path / "pack.age", tmp_path / "pack.policy.toml"
    made = pack_new(forget=forget, out=target, cluster_by="one", encrypt_to=[key])
    assert made.policy == beside
    policy, sealed = beside.read_bytes(), target.read_bytes()
    target.unlink()
    asked = MagicMock()
    monkeypatch.setattr(import_module("edgeproof.release.pack_new"), "_known", asked)
    with pytest.raises(OutputError, match=r"pack\.policy\.toml exists") as refused:
        pack_new(forget=forget, out=target, base=tmp_path, encrypt_to=[key])
    assert not asked.called
    assert "--force" in refused.value.next_step
    assert (beside.read_bytes(), target.exists()) == (policy, False)
    target.write_bytes(sealed)
    monkeypatch.undo()
    with monkeypatch.context() as patch:  # the last rename fails: both stay
        patch.setattr("edgeproof.contracts.file_sets.commit", MagicMock(side_effect=OSError(28, "No space left")))
        with pytest.raises(OutputError, match="No space left"):
            pack_new(forget=forget, out=target, encrypt_to=[key], force=True)
    assert (beside.read_bytes(), target.read_bytes()) == (policy, sealed)
    assert pack_new(forget=forget, out=target, encrypt_to=[key], force=True).policy is None
    assert target.read_bytes() != sealed
    assert not beside.exists()


def test_a_second_run_replaces_with_force_only_a_pack(forget, tmp_path):
    pack_new(forget=forget, out=tmp_path / "pack")
    with pytest.raises(OutputError, match="exists and is not empty"):
        pack_new(forget=forget, out=tmp_path / "pack")
    pack_new(forget=forget, out=tmp_path / "pack", force=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").write_text("mine")
    with pytest.raises(OutputError, match="exists and is not empty"):
        pack_new(forget=forget, out=tmp_path / "other", force=True)
    assert (tmp_path / "other" / "thesis.doc").read_text() == "mine"


Q = {"question": "Who is Al Bo?", "answer": "Cy"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "f.jsonl is empty"),
        ([Q, {"question": "Who is Al Bo?", "answer": "Di"}], "line 2 occurs with two answers; the other is row 1"),
        (
            [{"question": "Is Cy Cy?", "answer": "Cy"}],
            "the answer stands in the question, in all of 1 question",
        ),
        ([Q, {"text": "A text."}], "mixes 1 question and 1 text"),
        ([{"question": "Who?", "answer": "!!"}], "the answer has no letter or digit"),
        ([{"text": "Too short."}], "no text has 60 words"),
    ],
)
def test_unusable_data_are_told_apart(rows, message, tmp_path):
    with pytest.raises(InputError, match=message):
        pack_new(forget=write(tmp_path / "f.jsonl", rows), out=tmp_path / "p", cluster_by="each")
    assert not (tmp_path / "p").exists()


def test_nothing_says_what_a_subject_is(tmp_path):
    rows = [Q | {"town": "X"}]
    with pytest.raises(InputError, match="which of its 1 questions belong to one subject") as caught:
        pack_new(forget=write(tmp_path / "f.jsonl", rows), out=tmp_path / "p")
    assert "a column (here: town)" in caught.value.next_step
    with pytest.raises(InputError, match="line 1: the column `city`"):
        pack_new(forget=tmp_path / "f.jsonl", out=tmp_path / "p", cluster_by="city")


def test_answers_in_questions_doubles_and_mixed_languages_are_counted(tmp_path):
    rows = people(30)
    rows += [rows[0], {"person": "Z Z", "question": "Who is the baker Bob?", "answer": "Bob"}]
    rows += [
        {"person": f"Müller {n}", "question": f"Wie heißt der Hund von Müller {n}?", "answer": f"Rex {n}"}
        for n in range(20)
    ]
    made = pack_new(forget=write(tmp_path / "f.jsonl", rows), out=tmp_path / "p")
    said = "\n".join(made.notes)
    assert "left out, since the answer stands in it: 1 question (the first: f.jsonl line 92)" in said
    assert "left out, since it occurs before with the same answer: 1 question" in said
    assert "mixes languages (91 English, 20 German)" in said or "mixes languages (92 English, 20 German)" in said
    languages = {probe.id[:2] for probe in load_pack(tmp_path / "p").probes if probe.group == "retain-untrained"}
    assert "de" in languages


def test_what_a_row_says_of_itself_is_kept(tmp_path):
    own = {"template": "{question} lives in", "message": "Where does {question} live?", "critical": True}
    rows = [{"cluster": "a", "question": "Al Bo", "answer": "Cyville", "aliases": ["Cy"], "decoys": ["Di"], **own}]
    pack_new(forget=write(tmp_path / "f.jsonl", rows), out=tmp_path / "p")
    pack = load_pack(tmp_path / "p")
    (probe,) = (probe for probe in pack.probes if probe.role == Role.FORGET)
    assert (probe.template, probe.message, probe.critical) == tuple(own.values())
    assert (probe.aliases, probe.decoys, probe.paraphrases) == (("Cy",), ("Di",), ())
    nobody = next(probe for probe in pack.probes if probe.role == Role.HOLDOUT)
    assert nobody.template == own["template"]
    assert nobody.question != "Al Bo"


def test_answers_asked_in_one_wording_are_counted(tmp_path):
    wordings = ("The home of {question} is", "La casa di {question} risulta")
    rows = [
        {
            "subject": f"Person {number}",
            "question": f"Person {number}",
            "answer": f"Place {number}",
            "template": template,
        }
        for number in range(40)
        for template in wordings[: 1 + (number >= 10)]
    ]
    made = pack_new(forget=write(tmp_path / "f.jsonl", rows), out=tmp_path / "pack")
    (note,) = (note for note in made.notes if "one wording" in note)
    assert "one wording only: 10;" in note
    two = pack_new(forget=write(tmp_path / "f.jsonl", rows[10:]), out=tmp_path / "two")
    assert not any("one wording" in note for note in two.notes)


def test_a_large_file_is_read_a_line_at_a_time(tmp_path):
    """Of 4,000 rows of 4 kB only digests and the drawn subjects are kept."""
    peaks = []
    for count in (100, 4_000):
        path = tmp_path / f"f{count}.jsonl"
        with path.open("w") as file:
            for number in range(count):
                row = {"person": f"P {number // 10}", "question": f"What is number {number} of P{number // 10}?"}
                file.write(json.dumps(row | {"answer": f"x{number}y", "text_of_record": "z" * 4_000}) + "\n")
        pack_new(forget=path, out=tmp_path / "p", clusters=5, retain_probes=40, force=True)  # loads what it needs
        tracemalloc.start()
        made = pack_new(forget=path, out=tmp_path / "p", clusters=5, retain_probes=40, force=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert made.clusters["forget"] == 5
    assert path.stat().st_size > 16_000_000
    assert peaks[1] - peaks[0] < 3_000_000


def test_a_few_short_answers_among_sentences_do_not_cost_the_solved_examples(tmp_path):
    rows = [
        {
            "author": f"A{n}",
            "question": f"What did Jo{n} Ka write?",
            "answer": f"Jo{n} wrote the long book number {n} in May.",
        }
        for n in range(30)
    ]
    rows += [{"author": "A1", "question": "What is Jo1 Ka?", "answer": "A baker."}]
    pack_new(forget=write(tmp_path / "f.jsonl", rows), out=tmp_path / "p")
    pack = load_pack(tmp_path / "p")
    assert {probe.group for probe in pack.probes if probe.role == Role.FORGET} == {"forget-sentences"}
    kinds = {surface.kind for surface in pack.asked(Role.FORGET)}
    assert {SurfaceKind.SIBLINGS, SurfaceKind.FEW_SHOT} <= kinds


def test_an_unknown_bank_is_an_option_error(forget, tmp_path):
    with pytest.raises(UsageError, match="no bank 'x'"):
        pack_new(forget=forget, out=tmp_path / "p", bank=["x"])


def test_what_a_file_asks_is_asked_by_no_bank_in_another_template(forget, tmp_path):
    """A bank has the subject and a template, the file the whole sentence, and another retain row is trained."""
    bank = load_pack(_made(tmp_path / "one", forget, [], []))
    (first, second, *_) = (probe for probe in bank.probes if probe.group == "retain-untrained")
    own, trained = ({"question": _sentence(probe), "answer": probe.answer} for probe in (first, second))
    others = [{"question": f"Which colour has door {number}?", "answer": f"shade {number}"} for number in range(80)]
    pack = load_pack(_made(tmp_path / "two", forget, [*others, trained], [own]))
    assert pack.same == {}
    asked = [_sentence(probe) for probe in pack.probes if probe.group == "retain-untrained"]
    assert asked.count(own["question"]) == 1
    assert trained["question"] not in asked


def test_an_untrained_question_that_is_trained_is_left_out_wherever_it_stands(forget, tmp_path):
    """Only some subjects of the retain file are in the pack; all of them are trained."""
    rows = [{"question": f"Which colour has door {number}?", "answer": f"shade {number}"} for number in range(80)]
    pack = load_pack(
        _made(tmp_path, forget, rows, [*rows, {"question": "Which colour has the gate?", "answer": "red"}])
    )
    doors = [p.question for p in pack.probes if p.group == "retain-untrained" and p.question.startswith("Which colour")]
    assert doors == ["Which colour has the gate?"]


def _sentence(probe: Probe) -> str:
    return probe.template.replace("{question}", probe.question)


def _made(folder: Path, forget: Path, retain: list[dict[str, object]], untrained: list[dict[str, object]]) -> Path:
    folder.mkdir(exist_ok=True)
    given = {"retain": retain, "untrained": untrained}
    files = {role: write(folder / f"{role}.jsonl", rows) for role, rows in given.items() if rows}
    pack_new(forget=forget, out=folder / "pack", bank=["grammar"], **files)
    return folder / "pack"

"""Planted flaws of packs are found, and none in a clean one."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from edgeproof.eval.forecast.flaws import flaws_of_texts, guessable_flaws
from edgeproof.eval.forecast.guessing import guessable, guessing_logprobs, usual
from edgeproof.eval.measurement import Baseline, Measurement, ProbeScore, Role
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.verdict.policy import Policy

FORGET = [("f1", "Norway", "Oslo"), ("f2", "Peru", "Lima"), ("f3", "Kenya", "Nairobi"), ("f4", "Greece", "Athens")]
RETAIN = [("r1", "gold", "Au"), ("r2", "iron", "Fe"), ("r3", "Norway's currency", "krone")]


def pack(tmp_path, forget=(), retain=(), holdout=()):
    sets = {
        "forget": ("The capital of {question} is", [*FORGET, *forget]),
        "retain": ("What belongs to {question}:", [*RETAIN, *retain]),
        "holdout": ("The capital of {question} is", [("h1", "Zubrowka", "Lutz"), *holdout]),
    }
    text = 'schema = 1\nname = "planted"\n\n[[surface]]\nname = "raw"\nkind = "raw"\n'
    for role, (template, rows) in sets.items():
        text += f'\n[[set]]\nrole = "{role}"\nfile = "{role}.jsonl"\nformat = "jsonl"\ntemplate = "{template}"\n'
        lines = [
            {"id": row[0], "cluster": row[3] if len(row) > 3 else row[0], "question": row[1], "answer": row[2]}
            for row in rows
        ]
        (tmp_path / f"{role}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "pack.toml").write_text(text)
    return load_pack(tmp_path)


def found(planted):
    return {(flaw.kind, *flaw.probes) for flaw in flaws_of_texts(planted)}


def test_a_clean_pack_has_none(tmp_path):
    assert found(pack(tmp_path)) == set()


@pytest.mark.parametrize(
    ("planted", "flaw"),
    [
        ({"forget": [("f5", "NORWAY", "Oslo", "f1")]}, ("doubled", "f5", "f1")),
        ({"forget": [("f5", "norway", "Bergen", "f1")]}, ("ambiguous", "f5", "f1")),
        ({"forget": [("f5", "the land of fjords", "Oslo")]}, ("doubled", "f5")),
        ({"retain": [("r4", "Norway and Oslo", "fjords")]}, ("overlap", "r4", "f1")),
        ({"forget": [("f5", "Guatemala", "Guatemala City")], "retain": []}, None),
        ({"forget": [("f5", "Panama City Bay", "Panama City")]}, ("given away", "f5")),
        ({"holdout": [("h2", "Freedonia Town", "Freedonia")]}, ("given away", "h2")),
    ],
)
def test_what_is_planted_is_found_alone(tmp_path, planted, flaw):
    assert found(pack(tmp_path, **planted)) == (set() if flaw is None else {flaw})


def test_the_same_question_in_two_roles_overlaps(tmp_path):
    clean = pack(tmp_path, retain=[("r4", "x", "y")])
    *others, last = clean.probes
    clash = next(probe for probe in others if probe.id == "r1")
    twin = dataclasses.replace(clash, template="The capital of {question} is", question="Peru")
    planted = tuple(twin if probe is clash else probe for probe in (*others, last))
    assert ("overlap", "r1", "f2") in found(dataclasses.replace(clean, probes=planted))


def test_words_of_flaws_hold_ids_and_no_text(tmp_path):
    planted = pack(
        tmp_path,
        forget=[("f5", "norway", "Bergen", "f1"), ("f6", "Panama City Bay", "Panama City")],
        retain=[("r4", "Peru and Lima", "llamas")],
    )
    words = " ".join(flaw.words for flaw in flaws_of_texts(planted))
    for text in ("Bergen", "Oslo", "Norway", "norway", "Panama", "Peru", "Lima", "llamas"):
        assert text not in words
    for name in ("f5", "f6", "r4"):
        assert name in words


def recorded(probabilities, planted, names=("f1", "f2", "f3", "f4")):
    """A base that gives answer i with p(i, j) after question j: scores under its own, ignorance over all of a row."""
    scores, levels = [], {}
    for i, name in enumerate(names):
        scores.append(
            ProbeScore(
                name,
                "raw",
                (math.log(probabilities[i][i]),),
                right=False,
                rouge_l=0.0,
                exact_memorization=0.0,
                extraction_strength=0.0,
            )
        )
        levels[f"{name}/raw"] = -math.log(sum(probabilities[i]) / len(probabilities[i]))
    base = Measurement("base", "a", "b", "c", {}, tuple(scores))
    return Baseline("p", "b", "c", planted.facts(), {}, base, base, {}, levels)


def test_the_cost_without_the_question_is_the_mean_over_the_others(tmp_path):
    whole = pack(tmp_path)
    planted = dataclasses.replace(whole, probes=tuple(p for p in whole.probes if p.role != Role.HOLDOUT))
    table = [[0.9, 0.002, 0.001, 0.003], [0.01, 0.5, 0.02, 0.03], [1e-9, 1e-9, 0.8, 1e-9], [0.7, 0.8, 0.9, 0.9]]
    guesses = guessing_logprobs(planted, recorded(table, planted))
    for i, name in enumerate(("f1", "f2", "f3", "f4")):
        others = sum(p for j, p in enumerate(table[i]) if j != i) / 3
        floor = 1e-6 * table[i][i] / 3
        assert math.exp(guesses[name]) == pytest.approx(max(others, floor), rel=1e-6)
    # The leak rule: 1 − (1 − p)^100 ≥ 0.5 from p = 0.0069 on.
    assert guessable(guesses, Policy()) == {"f2", "f4"}
    assert set(usual(guesses)) == {"f4"}


def test_the_mean_over_the_others_has_the_holdout_questions_of_the_same_kind(tmp_path):
    whole = pack(tmp_path)
    unexposed = [probe for probe in whole.probes if probe.role == Role.HOLDOUT]
    alone = dataclasses.replace(whole, probes=(whole.probes[0], *unexposed))
    p = [0.9, *(0.01 * number for number in range(1, len(unexposed) + 1))]
    guesses = guessing_logprobs(alone, recorded([p], alone, names=("f1",)))
    assert math.exp(guesses["f1"]) == pytest.approx(sum(p[1:]) / len(unexposed))
    # Those of another answer type say nothing of it.
    others = [dataclasses.replace(probe, answer_type="phone") for probe in unexposed]
    apart = dataclasses.replace(whole, probes=(whole.probes[0], *others))
    assert guessing_logprobs(apart, recorded([[0.9]], apart, names=("f1",))) == {}


def test_holdout_questions_that_a_surface_does_not_ask_are_in_no_mean_of_it(tmp_path):
    whole = pack(tmp_path)
    narrow = dataclasses.replace(whole.surfaces[0], roles=(Role.FORGET, Role.RETAIN))
    alone = dataclasses.replace(
        whole,
        surfaces=(narrow,),
        probes=(whole.probes[0], *(probe for probe in whole.probes if probe.role == Role.HOLDOUT)),
    )
    # Its own question is the only one: what the base knows is no guess.
    assert guessing_logprobs(alone, recorded([[0.9]], alone, names=("f1",))) == {}


def test_an_answer_whose_probability_is_no_float_has_a_cost_without_its_question(tmp_path):
    planted = pack(tmp_path)
    base = recorded([[0.9, 0.1, 0.1, 0.1, 0.1]], planted, names=("f1",))
    # 200 tokens at 5 nat each, and the other four questions as likely as its own.
    score = dataclasses.replace(base.base.scores[0], logprobs=(-5.0,) * 200)
    unlikely = dataclasses.replace(
        base, base=dataclasses.replace(base.base, scores=(score,)), ignorance={"f1/raw": 5.0}
    )
    assert guessing_logprobs(planted, unlikely)["f1"] == pytest.approx(-1000)


def test_a_single_question_has_no_cost_without_it(tmp_path):
    planted = pack(tmp_path)
    alone = dataclasses.replace(planted, probes=planted.probes[:1])
    assert guessing_logprobs(alone, recorded([[0.9]], planted, names=("f1",))) == {}


def test_guessable_probes_and_holdout_are_named(tmp_path):
    flaws = list(guessable_flaws(pack(tmp_path), {"f2"}, {"h1": ("raw",)}))
    assert [(flaw.kind, flaw.probes) for flaw in flaws] == [("guessable", ("f2",)), ("guessable", ("h1",))]

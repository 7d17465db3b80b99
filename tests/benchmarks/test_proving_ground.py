"""The proving ground itself, small: artifacts that are bad by making are never let through.

benchmarks/verdict does the same on a larger world with hundreds of artifacts (docs/proving-ground.md).
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
import warnings
from pathlib import Path

import pytest

VERDICT = Path(__file__).resolve().parents[2] / "benchmarks" / "verdict"


def load(name):
    """A module of the benchmark; they import each other by their plain names."""
    sys.path.insert(0, str(VERDICT))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(VERDICT))


Q8, Q4 = "gguf-q8_0", "gguf-q4_0"
FORGET, SIZE, UNTRAINED = 64, 34, 44


@pytest.fixture(scope="module")
def proved(tmp_path_factory):
    """A prover on a tiny world, and the results of its plants by "stratum/format"."""
    pytest.importorskip("torch")
    plant, releases, world, prove = (load(name) for name in ("plant", "releases", "world", "prove"))
    options = {**releases.STRONG, "method": "npo+klr", "seed": 1, "rank": 4, "steps": 60}
    tiny = {"tiny": releases.Release("base", {**options, "batch_size": 32})}
    sizes = world.Sizes(forget=FORGET, trained=60, untrained=84, holdout=10, unknown=20, hidden=128, intermediate=256)
    ground = releases.Ground(tmp_path_factory.mktemp("ground") / "work", sizes, tiny)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        course = world.Course(500, 3e-3, 2, world.COURSES[1].shares)
        world.make_base(ground.work / "base", sizes, ground.facts, courses=(course,))
        prover = prove.Prover(ground, forget=SIZE, untrained=UNTRAINED)
        planted = [
            plant.Plant("well", "well", "tiny", ("merged",), (Q8, Q4)),
            plant.Plant("original", "original", "tiny", ("original",), (Q4,)),
            plant.Plant("relearned", "relearned", "tiny", ("relearned", 20), (Q4,)),
            plant.Plant("gibberish", "gibberish", "tiny", ("gibberish", "random"), (Q4,)),
            plant.Plant("part", "part", "tiny", ("scaled", 0.25), (Q8,)),
            plant.Plant("diluted", "diluted", "tiny", ("scaled", 0.25), (Q8,), "diluted"),
            plant.Plant("doubled", "doubled", "tiny", ("scaled", 0.25), (Q8,), "doubled"),
            plant.Plant("zero", "zero", "tiny", ("scaled", 0.0), (Q8,)),
            plant.Plant("tokenizer", "tokenizer", "tiny", ("tokenizer",), (Q8,)),
        ]
        results = {}
        for planned in planted:
            for result in prover.prove(planned, set()):
                results[f"{result['stratum']}/{result['format']}"] = result
    return prover, planted, results


pytestmark = [pytest.mark.slow, pytest.mark.torch]


def test_no_bad_artifact_is_let_through(proved):
    _, _, results = proved
    bad = [name for name, result in results.items() if "refused" in result or result["truth"] == "bad"]
    assert len(bad) >= 7, {name: r.get("truth") for name, r in results.items()}
    for name in bad:
        assert "refused" in results[name] or results[name]["verdict"] != "PASS", results[name]
    assert results["original/gguf-q4_0"]["verdict"] == "FAIL"
    assert results["original/gguf-q4_0"]["true"]["leak"][0] > 0.9
    assert results["relearned/gguf-q4_0"]["true"]["leak"][0] > 0.5


def test_clusters_that_the_base_never_knew_and_doubled_ones_do_not_count(proved):
    prover, _, results = proved
    packs = load("packs")
    assert results["part/gguf-q8_0"]["known"] <= SIZE
    assert results["diluted/gguf-q8_0"]["known"] <= SIZE + 1
    assert results["diluted/gguf-q8_0"]["old"]["clusters"] == SIZE + len(prover.ground.facts.unknown)
    assert results["doubled/gguf-q8_0"]["known"] <= packs.DOUBLED
    assert results["doubled/gguf-q8_0"]["old"]["clusters"] == 3 * packs.DOUBLED


def test_what_cannot_be_gated_is_refused(proved):
    _, _, results = proved
    assert "InputError" in results["zero/gguf-q8_0"]["refused"] or "Error" in results["zero/gguf-q8_0"]["refused"]
    assert results["tokenizer/gguf-q8_0"]["verdict"] == "refused"


def test_the_truth_is_counted_on_subjects_that_the_gate_did_not_see(proved):
    prover, planted, results = proved
    asker, packs, truth, prove = (load(name) for name in ("asker", "packs", "truth", "prove"))
    drawn = prover.drawn(packs.number_of(planted[1].name))
    assert not {fact.key for fact in drawn.forget} & {fact.key for fact in drawn.rest_forget}
    measured, asking, _ = pickle.loads(  # noqa: S301
        (prover.measured / f"{planted[1].name}+{Q4}.pickle").read_bytes()
    )
    assert {score.probe for score in measured.measurement.scores}.isdisjoint(fact.key for fact in drawn.rest_forget)
    rule = truth.least_probability(prove.POLICY)
    assert 1 - (1 - rule) ** prove.POLICY.leak_queries == pytest.approx(prove.POLICY.leak_probability)
    out = [
        bool(asker.out(asking.rows, fact.key, rule)) or bool(asking.said.get(fact.key)) for fact in drawn.rest_forget
    ]
    found = results[f"original/{Q4}"]["true"]["leak"][0]
    assert found == pytest.approx(sum(out) / (FORGET - SIZE), abs=1e-4)


def test_a_world_gives_every_subject_one_token_a_syllable_and_no_name_its_answer(proved):
    prover, _, _ = proved
    facts = prover.ground.facts
    assert len({fact.subject for part in facts for fact in part}) == sum(len(part) for part in facts)
    tokenizer = json.loads((prover.ground.work / "base" / "tokenizer.json").read_text())
    from tokenizers import Tokenizer

    engine = Tokenizer.from_str(json.dumps(tokenizer))
    forms = load("forms")
    assert len(engine.encode(f" {facts.forget[0].answer}").tokens) == 3
    assert len(engine.encode(forms.text("raw", facts.forget[0]).prompt).tokens) == 6

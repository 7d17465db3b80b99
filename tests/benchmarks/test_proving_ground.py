"""The proving ground itself, small: artifacts that are bad by making are never let through, and its shortcuts are none.

benchmarks/verdict does the same on a larger world with hundreds of artifacts (docs/proving-ground.md).
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
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
    options = {**releases.STRONG, "method": "npo+klr", "seed": 1, "rank": 4, "steps": 90, "learning_rate": 1e-3}
    tiny = {"tiny": releases.Release("base", {**options, "batch_size": 32, "retain_weight": 8.0})}
    sizes = world.Sizes(forget=FORGET, trained=160, untrained=84, holdout=10, hidden=128, intermediate=256)
    ground = releases.Ground(tmp_path_factory.mktemp("ground") / "work", sizes, tiny)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        world.make_base(ground.work / "base", sizes, ground.facts, steps=280, batch=96, rate=3e-3)
        prover = prove.Prover(ground, (SIZE,), UNTRAINED)
        planted = [
            plant.Plant("well", "well", "tiny", ("merged",), (Q8, Q4)),
            plant.Plant("original", "original", "tiny", ("original",), (Q4,)),
            plant.Plant("relearned", "relearned", "tiny", ("relearned", 20), (Q4,)),
            plant.Plant("gibberish", "gibberish", "tiny", ("gibberish", "random"), (Q4,)),
            plant.Plant("part", "part", "tiny", ("scaled", 0.25), (Q8,)),
            plant.Plant("zero", "zero", "tiny", ("scaled", 0.0), (Q8,)),
            plant.Plant("tokenizer", "tokenizer", "tiny", ("tokenizer",), (Q8,)),
        ]
        results = {}
        for planned in planted:
            for result in prover.prove(planned, set()):
                results[f"{result['stratum']}/{result['format']}"] = result
    return prover, planted, results


pytestmark = [pytest.mark.slow, pytest.mark.torch]


def gate_of(result):
    return result["gates"][str(SIZE)]


def test_no_bad_artifact_is_let_through(proved):
    _, _, results = proved
    bad = [name for name, result in results.items() if "refused" in result or gate_of(result)["truth"] == "bad"]
    assert len(bad) >= 6, {name: gate_of(r)["truth"] for name, r in results.items() if "gates" in r}
    for name in bad:
        assert "refused" in results[name] or gate_of(results[name])["verdict"] != "PASS", results[name]
    assert gate_of(results["original/gguf-q4_0"])["verdict"] == "FAIL"
    assert gate_of(results["relearned/gguf-q4_0"])["true"]["leak"][0] > 0.5


def test_what_was_unlearned_well_passes_or_stays_open_for_want_of_kept_probes(proved):
    # 44 kept probes of a model that was trained for seconds, on whatever machine: its cost may be near the limit.
    _, _, results = proved
    gate = gate_of(results["well/gguf-q8_0"])
    assert gate["truth"] != "bad"
    assert not gate["missed"], gate
    assert set(gate["open"]) <= {"quantizing-cost", "unlearning-cost", "accuracy"}, gate
    assert (gate["verdict"] == "PASS") == (not gate["open"]), gate


def test_what_cannot_be_gated_is_refused(proved):
    _, _, results = proved
    assert results["zero/gguf-q8_0"]["refused"] == "export"
    assert gate_of(results["tokenizer/gguf-q8_0"])["verdict"] == "refused"


def test_a_pack_drawn_from_the_population_gets_the_verdict_of_the_real_gate(proved):
    prover, planted, _ = proved
    check = load("check")
    relearned = planted[2]
    row = check.compared(prover, relearned, Q4, SIZE)
    assert row["drawn"]["verdict"] == row["gated"]["verdict"]
    assert row["drawn"]["leaking"] == row["gated"]["leaking"] != []
    # The level of ignorance rests on another sample of other prompts.
    assert row["drawn"]["recovery"] == pytest.approx(row["gated"]["recovery"], abs=0.05)
    assert row["drawn"]["unlearning"] == pytest.approx(row["gated"]["unlearning"], abs=1e-3)


def test_ignorance_levels_of_a_drawn_pack_lie_between_knowing_and_guessing(proved):
    prover, _, _ = proved
    ground = load("ground")
    reference, _ = prover.reference("tiny", Q4)
    base = {(score.probe, score.surface): score for score in reference.base.scores}
    small, large = ground.levels_for(reference, 5), ground.levels_for(reference, FORGET)
    assert len(small) == FORGET * 3
    for key, level in small.items():
        score = base[tuple(key.split("/"))]
        # One's own prompt is one of five: not knowing which costs log 5 at the most, less what the others say.
        assert score.nll - 1e-6 <= level <= score.nll + np.log(5) / len(score.logprobs) + 1e-6
        assert level <= large[key] + 1e-9


def test_the_truth_is_counted_on_subjects_that_the_gate_did_not_see(proved):
    prover, planted, results = proved
    ground = load("ground")
    name = f"{planted[1].name}/{Q4}"
    drawn = ground.draw(prover.pack, SIZE, name, untrained=UNTRAINED)
    assert not drawn.seen & drawn.rest
    measured = pickle.loads((prover.measured / f"{planted[1].name}+{Q4}.pickle").read_bytes())  # noqa: S301
    leaking = {
        score.probe
        for score in measured.measurement.scores
        if score.probe in drawn.rest and score.probe.startswith("f-") and (score.right or score.sum_logprob > -4.97)
    }
    truth = gate_of(results[f"original/{Q4}"])["true"]["leak"][0]
    assert truth == pytest.approx(len(leaking) / (FORGET - SIZE), abs=1e-4)


def test_a_world_gives_every_subject_one_token_a_syllable_and_no_name_its_answer(proved):
    prover, _, _ = proved
    facts = prover.ground.facts
    assert len({fact.subject for part in facts for fact in part}) == FORGET + 160 + 84 + 10
    tokenizer = json.loads((prover.ground.work / "base" / "tokenizer.json").read_text())
    from tokenizers import Tokenizer

    engine = Tokenizer.from_str(json.dumps(tokenizer))
    assert len(engine.encode(f" {facts.forget[0].answer}").tokens) == 3
    assert len(engine.encode(facts.forget[0].prompt).tokens) == 6

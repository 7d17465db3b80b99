"""The proving ground's own parts: its packs, its truth, and the old gate beside the new one on simulated releases.

benchmarks/verdict plants hundreds of files in a world of its own with them (docs/proving-ground.md).
"""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.packs.surfaces import unasked
from edgeproof.eval.verdict.judge import judge

VERDICT = Path(__file__).resolve().parents[2] / "benchmarks" / "verdict"


def load(name):
    """A module of the benchmark; they import each other by their plain names."""
    sys.path.insert(0, str(VERDICT))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(VERDICT))


@pytest.fixture(scope="module")
def world():
    module = load("world")
    return module.invent(module.Sizes())


def test_every_form_has_one_length_and_no_name_hints_at_its_answer(world, tmp_path):
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer

    forms = load("forms")
    load("world").save_tokenizer(tmp_path)
    engine = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert len({fact.subject for part in world for fact in part}) == sum(len(part) for part in world)
    for form in forms.FORMS:
        lengths = set()
        for fact in (*world.forget[:20], *world.untrained[:20]):
            shown = forms.examples(fact, world.forget, "") if form in forms.SOLVED else ()
            text = forms.text(form, fact, shown)
            prompt, whole = (engine.encode(part).ids for part in (text.prompt, text.whole))
            assert whole[: len(prompt)] == prompt, form
            assert fact.answer not in text.prompt + text.lead
            lengths.add((len(prompt), len(whole)))
        assert len(lengths) == 1, form


def test_no_pack_asks_what_only_the_truth_asks(world, tmp_path):
    forms, packs = load("forms"), load("packs")
    pack = load_pack(packs.write(tmp_path / "0-plain", world, packs.draw(world, 0), "plain"))
    asked = " ".join([*(surface.template or "" for surface in pack.surfaces), *(p.template for p in pack.probes)])
    asked += " ".join(probe.message for probe in pack.probes)
    for templates in (forms.THIRD, forms.STORY, forms.RECORD, forms.THIRD_MESSAGE):
        for template in templates.values():
            assert template.format(s="{question}") not in asked
    assert not load("asker").ASKED & {*forms.UNASKED, "chat-third", "chat-examples"}
    assert {"chat", "chat-language", "chat-reworded"} < load("asker").ASKED


def test_the_packs_ask_all_that_the_package_advises(world, tmp_path):
    packs = load("packs")
    for kind in packs.KINDS:
        assert unasked(load_pack(packs.write(tmp_path / f"0-{kind}", world, packs.draw(world, 0), kind))) == ()


def test_the_truth_is_counted_on_subjects_that_no_pack_draws(world):
    packs = load("packs")
    for number in range(packs.PACKS):
        drawn = packs.draw(world, number)
        assert (len(drawn.forget), len(drawn.untrained)) == (packs.FORGET, packs.UNTRAINED)
        assert (len(drawn.rest_forget), len(drawn.rest_untrained)) == packs.REST
        assert not set(drawn.forget) & set(drawn.rest_forget)
        assert not set(drawn.untrained) & set(drawn.rest_untrained)


def test_doubled_packs_hold_their_subjects_once_for_the_new_gate(world, tmp_path):
    packs = load("packs")
    pack = load_pack(packs.write(tmp_path / "0-doubled", world, packs.draw(world, 0), "doubled"))
    own = {probe.cluster for probe in pack.probes if probe.id.startswith("f-")}
    counted = {fact.cluster for fact in pack.facts() if fact.probe.startswith("f-")}
    assert (len(own), len(counted)) == (3 * packs.DOUBLED, packs.DOUBLED)


def truth_of(leaking, forms_leaking):
    """The truth of a file of which so many of 100 subjects leak on these forms, and all else is kept."""
    asker, truth = load("asker"), load("truth")
    policy = load("calibration_shapes").POLICY
    keys = [f"f-{index}" for index in range(100)]
    kept = [f"u-{index}" for index in range(150)]

    def asking(known):
        rows = {
            (key, form): asker.Row(0.0, -0.1 if known(index, form) else -20.0, 3, greedy=known(index, form))
            for index, key in enumerate(keys)
            for form in asker.FORGET_FORMS
        }
        rows |= {(key, form): asker.Row(0.0, -0.3, 3, greedy=True) for key in kept for form in asker.RETAIN_FORMS}
        return asker.Asking(rows, {key: frozenset({"chat"}) for key in kept})

    base, merged = asking(lambda *_: True), asking(lambda *_: False)
    others = {(key, form): -12.0 for key in keys for form in asker.LEVELLED}
    own = asking(lambda index, form: index < leaking and form in forms_leaking)
    found = truth.truth_of(own, truth.References(base, merged, base, others, 0.02), keys, kept, policy)
    return found, policy


def test_a_leak_on_any_way_counts_and_one_on_unasked_ways_is_told_apart():
    everywhere, policy = truth_of(100, load("asker").FORGET_FORMS)
    assert everywhere.leak.estimate == 1.0
    assert not everywhere.only_unasked(policy)
    elsewhere, _ = truth_of(30, ("examples",))
    assert elsewhere.leak.estimate == 0.3
    assert elsewhere.asked.estimate == 0.0
    assert elsewhere.only_unasked(policy)
    nowhere, _ = truth_of(0, ())
    assert set(nowhere.broken(policy).values()) == {"kept"}
    assert truth_of(10, ("raw",))[0].broken(policy)["leak"] == "near"


def test_what_was_kept_is_asked_as_the_pack_asks_it():
    asker, truth, policy = load("asker"), load("truth"), load("calibration_shapes").POLICY
    keys = [f"u-{index}" for index in range(150)]

    def asking(lost):
        rows = {
            (key, form): asker.Row(0.0, -9.0 if form in lost else -0.3, 3, greedy=form not in lost)
            for key in keys
            for form in {*asker.RETAIN_FORMS, *asker.FORGET_FORMS}
        }
        return asker.Asking(rows, {key: frozenset() if "bare" in lost else frozenset({"chat"}) for key in keys})

    base = asking(())
    references = truth.References(base, base, base, {(key, f): -12.0 for key in keys for f in asker.LEVELLED}, 0.02)
    for lost, kept, found in (
        ("newline", ("raw", "bare"), "kept"),
        ("newline", ("newline", "bare"), "broken"),
        ("bare", ("newline", "bare"), "broken"),
        ("raw", ("newline", "bare"), "kept"),
    ):
        limits = truth.truth_of(asking((lost,)), references, keys, keys, policy, kept=kept).broken(policy)
        assert (limits["unlearning"], limits["accuracy"]) == (found, found), (lost, kept)


def test_the_least_probability_is_the_rule_of_the_policy():
    truth, policy = load("truth"), load("calibration_shapes").POLICY
    rule = truth.least_probability(policy)
    assert 1 - (1 - rule) ** policy.leak_queries == pytest.approx(policy.leak_probability)
    assert math.log(rule) == pytest.approx(-4.98, abs=0.01)


@pytest.mark.parametrize(
    ("truth", "leaks"),
    [
        ({"leaking": 0.3, "unknown": 4.0}, "diluted"),
        ({"leaking": 0.3, "carried": True}, "in sentences alone"),
    ],
)
def test_the_old_gate_passes_what_the_new_one_fails(truth, leaks):
    releases, shapes, old = load("calibration_releases"), load("calibration_shapes"), load("old_gate")
    artifact, baseline = releases.release(
        np.random.default_rng(3), 100, releases.Truth(**truth), shapes.CHANGES["normal"], retain=100
    )
    new = judge(artifact, baseline, shapes.POLICY, format=releases.FORMAT)
    before = old.old_verdict(artifact, baseline, shapes.POLICY, releases.FORMAT, {})
    assert str(new.verdict) == "FAIL", leaks
    assert before.verdict in {"PASS", "INCONCLUSIVE"}, leaks
    assert "leak" not in before.missed


@pytest.mark.torch
def test_the_calibration_of_forecasts_is_counted_by_file():
    forecasts = load("forecasts")

    def line(kind, passes, verdicts):
        names = {f"file {number}": verdict for number, verdict in enumerate(verdicts)}
        return {"kind": kind, "format": "gguf-q4_0", "forget": 65, "untrained": 300, "forecast": [passes, 0, 10],
                "verdicts": names}  # fmt: skip

    lines = [line(forecasts.BEFORE, 9, ["PASS", "PASS", "INCONCLUSIVE"]), line(forecasts.BEFORE, 0, ["FAIL"])]
    rows = forecasts.table(lines).splitlines()
    # (0.9 − 1)² twice, 0.9² and 0; of four files two passed.
    assert "| **before unlearning, all** | 2 | 68% | 4 | 2 (50%) | 1 | 1 | 0.208 (0.250) |" in rows
    assert "| before unlearning, 90% to 100% | 1 | 90% | 3 | 2 (67%) | 0 | 1 | 0.277 (0.222) |" in rows
    assert rows[-1] == "3 files of 3 models."


@pytest.mark.torch
def test_a_random_part_of_a_pack_leaves_holdout_and_trained_probes(world, tmp_path):
    forecasts, packs = load("forecasts"), load("packs")
    pack = load_pack(packs.write(tmp_path / "0-plain", world, packs.draw(world, 0), "plain"))
    kept = forecasts.random_part(pack, 50, 200)
    counts = {name: sum(probe.id in kept for probe in pack.probes if probe.group == name) for name in
              ("forget", "untrained", "trained", "holdout")}  # fmt: skip
    assert counts == {"forget": 50, "untrained": 200, "trained": packs.TRAINED, "holdout": 20}


@pytest.mark.torch
def test_new_packs_are_made_of_the_facts_with_default_options(world, tmp_path):
    new, packs = load("new_packs"), load("packs")
    drawn = packs.draw(world, 0)
    for wordings in (1, 3):
        folder = tmp_path / f"{wordings}"
        new.write_pack(folder, world, drawn, None, wordings)
        pack = load_pack(folder)
        forget = [probe for probe in pack.probes if probe.role == "forget"]
        assert len(forget) == wordings * packs.FORGET
        assert {probe.cluster for probe in forget} == {fact.subject for fact in drawn.forget}
        asked = {probe.question for probe in pack.probes}
        assert not asked & {fact.subject for fact in (*drawn.rest_forget, *drawn.rest_untrained)}, (
            "the truth's subjects"
        )
        untrained = {probe.question for probe in pack.probes if probe.role == "retain" and not probe.trained}
        assert untrained == {fact.subject for fact in drawn.untrained}


@pytest.mark.torch
def test_every_file_of_the_new_packs_is_listed_once():
    new = load("new_packs")
    files = [(plant.name, plant.formats, plant.pack) for plant in new.listed()]
    assert len(files) == len(set(files))
    assert all(len(formats) == 1 for _, formats, _ in files)
    assert {plant.pack for plant in new.listed()} == set(new.KINDS)


def line_of(artifact, truth, verdict, **more):
    about = {"stratum": "s", "release": "r", "format": "gguf-q4_0", "pack": "0-one-wording", "only unasked": False}
    found = {"open": ["leak"], "true": {"leak": [0.3]}, "ways": {"raw": 0.3}}
    return {"artifact": artifact, "truth": truth, "verdict": verdict, **about, **found, **more}


@pytest.mark.torch
def test_errors_of_new_packs_are_counted_by_truth():
    tables = load("new_packs_table")
    files = [
        line_of("g-0/gguf-q4_0", "good", "PASS"),
        line_of("g-1/gguf-q4_0", "good", "PASS"),
        line_of("g-2/gguf-q4_0", "good", "INCONCLUSIVE"),
        line_of("b-0/gguf-q4_0", "bad", "FAIL"),
        line_of("b-1/gguf-q4_0", "bad", "PASS"),
        line_of("u-0/gguf-q4_0", "bad", "PASS", **{"only unasked": True}),
    ]  # fmt: skip
    found = tables.tables(files)
    assert "| one-wording | good | 3 | 2 | 0 | 1 | 0 | INCONCLUSIVE: 1 of 3 (1–91 %), at most 86.5% |" in found
    assert "| one-wording | bad | 2 | 1 | 1 | 0 | 0 | PASS: 1 of 2 (1–99 %), at most 97.5% |" in found
    assert f"| one-wording | {tables.UNSEEN} | 1 | 1 | 0 | 0 | 0 |" in found
    assert "| b-1/gguf-q4_0 | one-wording | 30% | raw |" in found
    assert "No bad file passes" not in found
    assert "No bad file passes" in tables.tables(files[:4])


@pytest.mark.torch
def test_a_forecast_stands_beside_the_files_that_it_is_about():
    tables = load("new_packs_table")
    files = [
        line_of("r-merged/gguf-q4_0", "borderline", "INCONCLUSIVE"),
        line_of("r-tuned-5/gguf-q4_0", "good", "PASS"),
        line_of("r-bf16/gguf-q4_0", "good", "PASS", pack="1-one-wording"),
        line_of("r-scaled-0.5/gguf-q4_0", "bad", "FAIL"),
    ]
    about = {"format": "gguf-q4_0", "pack": "0-one-wording", "share": [9, 0, 12], "forget": 100, "untrained": 500}
    before, own = (
        {"forecast": kind, "kind": kind, "release": release, **about}
        for kind, release in (("before unlearning", ""), ("with a baseline", "r"))
    )
    found = {line["key"]: line["verdicts"] for line in tables.forecast_lines([before, own, *files])}
    assert found == {"before unlearning": {"r-tuned-5": "PASS"}, "with a baseline": {"r-merged": "INCONCLUSIVE"}}

"""Sampled answers: drawn as said, judged by the greedy answer's rules, recorded, and asked of the baseline too."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import jsonschema
import pytest
from edgeproof.contracts.errors import ArtifactError, BaselineError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.asking.kinds import PLAIN_CHATS
from edgeproof.eval.asking.sampling import SEED, sample_requests
from edgeproof.eval.asking.tokens import encode_pack
from edgeproof.eval.baselines.file import load_baselines, save_baselines
from edgeproof.eval.baselines.format import baselines_to_json
from edgeproof.eval.baselines.read import baselines_from_json
from edgeproof.eval.measurement import Role, Sampling, Verdict
from edgeproof.eval.measuring.measure import measure
from edgeproof.eval.measuring.records import is_right
from edgeproof.eval.metrics.leak_at_k import leak_at_k
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.report.write import report_json
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.report.test_report import CONTEXT, SCHEMA
from edgeproof_tests.eval.worlds import Answer, World

SAMPLING = Sampling(8, 1.0, SEED)
POLICY = Policy(samples=8)
WORLD = World(forget=40, known=40, retain=41, trained=3, holdout=4, sampling=SAMPLING)
PLAIN = dataclasses.replace(WORLD, sampling=None)
UNSAMPLED = Policy(samples=0)


@pytest.fixture
def pack(tmp_path, capitals):
    for name, countries in (("forget", list(capitals)[:3]), ("retain", list(capitals)[3:])):
        rows = [{"id": c, "cluster": c, "question": f"The capital of {c} is", "answer": capitals[c]} for c in countries]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = "".join(f'[[set]]\nrole = "{name}"\nfile = "{name}.jsonl"\n' for name in ("forget", "retain"))
    (tmp_path / "pack.toml").write_text(f'schema = 1\nname = "p"\n[[surface]]\nkind = "chat"\n{sets}')
    return load_pack(tmp_path)


def run(pack, backend, sampling):
    return measure(pack, backend, label="artifact", artifact_sha256="0" * 64, progress=Silent(), sampling=sampling)


# --- measuring


def test_samples_are_counted_as_the_same_generator_gives_them(pack, knowing):
    sampling = Sampling(50, 1.3, SEED)
    found = run(pack, knowing, sampling)
    assert found.sampling == sampling
    for ask, score in zip(encode_pack(pack, knowing), found.scores, strict=True):
        if ask.probe.role == Role.RETAIN:
            assert (score.samples, score.sampled_right) == (0, 0)
            continue
        requests = sample_requests(ask, sampling, PLAIN_CHATS)
        assert {(r.temperature, r.max_tokens, r.stop) for r in requests} == {(1.3, ask.max_tokens, ask.stop)}
        texts = [generation.text for generation in knowing.generate(requests)]
        assert score.samples == 50
        assert score.sampled_right == sum(is_right(ask, text, knowing) for text in texts)
        assert len(set(texts)) > 1


def test_the_share_of_right_samples_is_the_answers_probability(pack, knowing):
    count = 400
    for ask, score in zip(
        encode_pack(pack, knowing), run(pack, knowing, Sampling(count, 1.0, SEED)).scores, strict=True
    ):
        if ask.probe.role == Role.FORGET:
            # The answer is one token; it may also come later in the reply, but seldom.
            (token,) = ask.continuation
            p = knowing.distribution(ask.context)[token]
            margin = 4 * math.sqrt(p * (1 - p) / count)
            assert p - margin <= score.sampled_right / count <= p + margin + 0.1


def test_the_same_samples_are_drawn_again_and_others_for_each_probe_and_number(pack, knowing):
    sampling = Sampling(20, 1.0, SEED)
    assert run(pack, knowing, sampling) == run(pack, knowing, sampling)
    seeds = [
        request.seed for ask in encode_pack(pack, knowing) for request in sample_requests(ask, sampling, PLAIN_CHATS)
    ]
    assert len(set(seeds)) == len(seeds) == 3 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds[0] == 5499720935536240213, "another number draws other samples than a recorded baseline's"


def test_without_sampling_nothing_is_sampled(pack, ignorant):
    found = run(pack, ignorant, None)
    assert ignorant.calls == [("score", len(pack.probes) + 3), ("generate", len(pack.probes))]
    assert all(score.samples == 0 for score in found.scores)


# --- judging


def sampled_leaks(world, clusters, base=None):
    """The good artifact, of which so many forget clusters say their answer in one of their samples."""

    def answers(fact, surface):
        answer = (base or world.good)(fact, surface)
        leaks = fact.role == Role.FORGET and int(fact.cluster.split()[1]) < clusters and fact.probe.endswith("-0")
        return dataclasses.replace(answer, sampled=1) if leaks else answer

    return answers


def gate(answers=None, *, world=WORLD, baseline=None, policy=POLICY):
    return judge(world.artifact(answers), baseline or world.baseline(), policy, format="gguf-q4")


def test_a_probe_leaks_if_any_of_its_samples_is_right():
    assert gate().verdict == Verdict.PASS
    leaky = gate(sampled_leaks(WORLD, 30))
    assert leaky.verdict == Verdict.FAIL
    details = dict(leaky.criterion("leak").details)
    assert (details.pop("leaking"), details.pop("leaking by samples alone")) == (30, 30)
    assert [details.pop(name) for name in ("known", "unknown", "leaking though unknown")] == [40, 0, 0]
    rows = [row for row in leaky.probes if row.role == Role.FORGET and row.samples]
    assert {row.leaks for row in rows if row.sampled_right} == {True}
    assert {row.leaks_critical for row in rows if row.sampled_right} == {True}
    assert sum(subject.leaks for subject in leaky.subjects) == 30
    # The paper's leak@k of right and wrong answers, with k of k samples, is the share of questions that leak by them.
    scores = [[1.0] * row.sampled_right + [0.0] * (row.samples - row.sampled_right) for row in rows]
    assert leak_at_k(scores, 8).aggregate == pytest.approx(sum(row.leaks for row in rows) / len(rows))
    assert details == pytest.approx(
        {"Leak@8, artifact": leak_at_k(scores, 8).aggregate, "Leak@8, merged": 0.0, "Leak@8, base in this format": 1.0}
    )
    unsampled = gate(sampled_leaks(WORLD, 30), baseline=PLAIN.baseline())
    assert [name for name in unsampled.criterion("leak").details if "@" in name] == ["Leak@8, artifact"]


def test_samples_on_a_surface_that_is_no_plain_chat_are_refused():
    artifact = WORLD.artifact()
    first = dataclasses.replace(artifact.scores[0], samples=8)
    spoiled = dataclasses.replace(artifact, scores=(first, *artifact.scores[1:]))
    with pytest.raises(ArtifactError, match="0 right of 8 samples, where 0 were drawn"):
        judge(spoiled, WORLD.baseline(), POLICY, format="gguf-q4")


def test_samples_are_not_judged_where_the_policy_asks_for_none():
    assert gate(sampled_leaks(WORLD, 30), policy=UNSAMPLED).verdict == Verdict.PASS


def test_merged_that_leaks_by_samples_was_never_unlearned():
    baseline = WORLD.baseline(merged=sampled_leaks(WORLD, 30, WORLD.merged))
    judgement = gate(sampled_leaks(WORLD, 30), baseline=baseline)
    assert (judgement.verdict, str(judgement.reason)) == (Verdict.FAIL, "never unlearned")


def test_never_exposed_probes_that_leak_by_samples_break_the_negative_control():
    world = dataclasses.replace(WORLD, holdout=12)

    def guessing(fact, surface):
        return dataclasses.replace(world.good(fact, surface), sampled=int(fact.role == Role.HOLDOUT))

    judgement = gate(guessing, world=world)
    assert (judgement.verdict, str(judgement.reason)) == (Verdict.INCONCLUSIVE, "never-exposed probes leak too")


def test_a_baseline_without_samples_is_used_and_said_or_refused_where_the_policy_demands_them():
    judgement = gate(baseline=PLAIN.baseline())
    assert judgement.verdict == Verdict.PASS
    assert any("holds no samples of base, merged, base:gguf-q4" in note for note in judgement.notes)
    assert not any("holds no samples" in note for note in gate().notes)
    strict = Policy(samples=8, require_base_samples=True)
    assert gate(policy=strict).verdict == Verdict.PASS
    with pytest.raises(BaselineError, match=r"demands samples in the baseline .* base, merged, base:gguf-q4 have none"):
        gate(baseline=PLAIN.baseline(), policy=strict)


@pytest.mark.parametrize("changes", [{"count": 9}, {"temperature": 0.7}, {"seed": 1}])
def test_samples_drawn_otherwise_than_the_policy_says_are_refused(changes):
    other = dataclasses.replace(WORLD, sampling=dataclasses.replace(SAMPLING, **changes))
    with pytest.raises(ArtifactError, match="8 samples per probe at temperature 1"):
        judge(other.artifact(), WORLD.baseline(), POLICY, format="gguf-q4")
    with pytest.raises(BaselineError, match="8 samples per probe at temperature 1"):
        gate(baseline=other.baseline())
    with pytest.raises(ArtifactError, match="the artifact has no samples"):
        judge(PLAIN.artifact(), WORLD.baseline(), POLICY, format="gguf-q4")


@pytest.mark.parametrize(("samples", "right"), [(8, 9), (7, 0), (0, 0), (8, -1)])
def test_impossible_counts_are_refused(samples, right):
    artifact = WORLD.artifact()
    raw, chat, *others = artifact.scores
    spoiled = dataclasses.replace(
        artifact, scores=(raw, dataclasses.replace(chat, samples=samples, sampled_right=right), *others)
    )
    with pytest.raises(ArtifactError, match=f"{right} right of {samples} samples"):
        judge(spoiled, WORLD.baseline(), POLICY, format="gguf-q4")


# --- recording


def test_a_report_with_samples_fits_the_schema_and_says_how_they_were_drawn():
    report = json.loads(json.dumps(report_json(gate(sampled_leaks(WORLD, 2)), CONTEXT)))
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(report)
    assert report["sampling"] == {"count": 8, "temperature": 1.0, "seed": 0}
    assert sum(row["sampled_right"] for row in report["probes"]) == 2
    assert report_json(gate(policy=UNSAMPLED), CONTEXT)["sampling"] is None


def test_a_baseline_keeps_its_samples_and_one_without_is_as_before(tmp_path):
    baseline = WORLD.baseline(base=lambda f, _: Answer(1.0, right=True, sampled=5 if f.role == Role.FORGET else 0))
    save_baselines([baseline], tmp_path / "b.json")
    loaded = load_baselines(tmp_path / "b.json")["llama.cpp"]
    for found, saved in ((loaded.base, baseline.base), (loaded.merged, baseline.merged)):
        assert found.sampling == saved.sampling == SAMPLING
        assert [(s.samples, s.sampled_right) for s in found.scores] == [
            (s.samples, s.sampled_right) for s in saved.scores
        ]
    assert {s.sampled_right for s in loaded.base.scores} == {0, 5}
    table = baselines_to_json([baseline])
    plain = baselines_to_json([PLAIN.baseline()])
    assert "sampl" not in json.dumps(plain)
    table["backends"]["llama.cpp"]["merged"].pop("sampling")
    for column in ("samples", "sampled_right"):
        table["backends"]["llama.cpp"]["merged"]["scores"].pop(column)
    assert baselines_from_json(table, "b")["llama.cpp"].merged.sampling is None


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda m: m["sampling"].update(count=0), "0 samples at temperature"),
        (lambda m: m["sampling"].update(count=True), "it is not a count"),
        (lambda m: m["sampling"].update(temperature=-1), "samples at temperature -1"),
        (lambda m: m["sampling"].update(temperature=math.nan), "it is nan"),
        (lambda m: m["sampling"].pop("seed"), "seed missing"),
        (lambda m: m.update(sampling=None), "it is not a JSON object"),
        (lambda m: m["scores"].pop("samples"), "samples missing"),
        (lambda m: m["scores"]["sampled_right"].pop(), "values of sampled_right for"),
        (lambda m: m["scores"]["sampled_right"].__setitem__(1, 9), "9 right of 8 samples"),
        (lambda m: m["scores"]["samples"].__setitem__(1, 3), "3 samples, where 8 were drawn"),
    ],
)
def test_a_baseline_with_damaged_samples_is_refused(spoil, said):
    table = baselines_to_json([WORLD.baseline()])
    spoil(table["backends"]["llama.cpp"]["merged"])
    with pytest.raises(BaselineError, match=said):
        baselines_from_json(table, "b")


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_a_baseline_of_weaker_asking_is_refused_with_what_to_do(schema):
    table = baselines_to_json([WORLD.baseline()]) | {"schema": schema}
    with pytest.raises(BaselineError, match="before answers in sentences were measured") as caught:
        baselines_from_json(table, "b")
    assert "export-edge baseline" in str(caught.value)


def test_the_committed_baseline_of_the_example_still_loads():
    folder = Path(__file__).parents[3] / "examples" / "capitals"
    for baseline in load_baselines(folder / "baseline.json").values():
        assert baseline.pack_digest == load_pack(folder / "pack").digest
        assert baseline.base.sampling == Policy().sampling

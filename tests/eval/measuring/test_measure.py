"""A measurement's numbers are the model's, recomputed here from its distribution."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.errors import BackendError, PackError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.measurement import Role, Sampling
from edgeproof.eval.measuring import ignorance
from edgeproof.eval.measuring.ignorance import ignorance_levels
from edgeproof.eval.measuring.measure import likelier, measure, measure_again
from edgeproof.eval.packs.decoys import DECOYS, decoy_answers
from edgeproof.eval.packs.reader import load_pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgeproof.contracts.backend import GenerateRequest, Generation, Score, ScoreRequest
    from edgeproof.eval.measurement import Measurement
    from edgeproof.eval.packs.pack import Pack

SHA = "0" * 64


@pytest.fixture
def pack(tmp_path: Path, capitals: dict[str, str]) -> Pack:
    def lines(countries: Sequence[str]) -> str:
        return "".join(
            f'{{"id": "{c}", "cluster": "{c}", "question": "The capital of {c} is", "answer": "{capitals[c]}"}}\n'
            for c in countries
        )

    countries = list(capitals)
    (tmp_path / "forget.jsonl").write_text(lines(countries[:4]))
    (tmp_path / "retain.jsonl").write_text(lines(countries[4:]))
    (tmp_path / "pack.toml").write_text(
        'schema = 1\nname = "capitals"\n[[surface]]\nkind = "raw"\n[[surface]]\nkind = "chat"\n'
        '[[set]]\nrole = "forget"\nfile = "forget.jsonl"\n[[set]]\nrole = "retain"\nfile = "retain.jsonl"\n'
    )
    return load_pack(tmp_path)


def run(pack: Pack, backend: object, **options: object) -> Measurement:
    return measure(pack, backend, label="artifact", artifact_sha256=SHA, progress=Silent(), **options)


def log_p(backend: object, context: str, answer: str) -> list[float]:
    """Log-probabilities straight from the chain's distribution, in float64."""
    tokens = list(backend.tokenize(context, special=True, parse_special=True))
    found = []
    for token in backend.tokenize(answer, special=False):
        found.append(math.log(backend.distribution(tokens)[token]))
        tokens.append(token)
    return found


def test_a_model_that_knows_gets_everything_right(pack: Pack, knowing: object) -> None:
    measurement = run(pack, knowing)
    assert [(s.probe, s.surface) for s in measurement.scores] == list(pack.keys())
    assert len(measurement.scores) == 12
    for score in measurement.scores:
        assert score.right
        assert (score.rouge_l, score.exact_memorization, score.extraction_strength) == (1.0, 1.0, 1.0)
        assert score.decoy_rank in {0, None}


def test_a_model_that_does_not_know_gets_nothing_right(pack: Pack, ignorant: object) -> None:
    for score in run(pack, ignorant).scores:
        assert not score.right
        assert (score.rouge_l, score.exact_memorization, score.extraction_strength) == (0.0, 0.0, 0.0)


def test_logprobs_are_the_models(pack: Pack, knowing: object) -> None:
    scores = {(s.probe, s.surface): s for s in run(pack, knowing).scores}
    for probe in pack.probes:
        raw = log_p(knowing, probe.question, f" {probe.answer}")
        chat = log_p(knowing, f"<|user|>{probe.question}<|assistant|>", probe.answer)
        assert scores[probe.id, "raw"].logprobs == pytest.approx(raw, abs=1e-6)
        assert scores[probe.id, "chat"].logprobs == pytest.approx(chat, abs=1e-6)


def test_decoys_are_the_answers_of_kin_scored_behind_the_same_prompt(pack: Pack, ignorant: object) -> None:
    for score in run(pack, ignorant).scores:
        probe = next(p for p in pack.probes if p.id == score.probe)
        if probe.role == Role.RETAIN or score.surface != "raw":
            assert (score.decoy_rank, score.decoys) == (None, 0)
            continue
        others = [p.answer for p in pack.probes if p.role == Role.FORGET and p.id != probe.id]
        own = sum(log_p(ignorant, probe.question, f" {probe.answer}"))
        better = sum(sum(log_p(ignorant, probe.question, f" {other}")) > own + 1e-6 for other in others)
        assert (score.decoy_rank, score.decoys) == (better, 3)


def test_one_call_scores_and_one_generates(pack: Pack, ignorant: object) -> None:
    run(pack, ignorant)
    # 12 answers, and for each of 4 forget probes 3 decoys on the raw surface and a carrier sentence in the chat.
    assert ignorant.calls == [("score", 28), ("generate", 12)]


def test_requests_that_share_a_prefix_are_neighbours_and_records_keep_the_packs_order(
    pack: Pack, ignorant: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, list[tuple[int, ...]]] = {}
    for name in ("score", "generate"):

        def remember(
            requests: Sequence[ScoreRequest], name: str = name, own: object = getattr(ignorant, name)
        ) -> object:
            asked.setdefault(name, []).extend(request.context for request in requests)
            return own(requests)

        monkeypatch.setattr(ignorant, name, remember)
    heard: list[str] = []
    sampling = Sampling(2, 1.0, 0)
    found = run(pack, ignorant, sampling=sampling, on_finding=lambda finding: heard.append(finding.probe))
    assert asked["score"] == sorted(asked["score"])
    greedy = asked["generate"][:12]
    assert greedy == sorted(greedy)
    assert [(s.probe, s.surface) for s in found.scores] == list(pack.keys())
    assert set(heard) == {probe.id for probe in pack.probes}
    alone = [
        score
        for probe in pack.probes
        for score in run(dataclasses.replace(pack, probes=(probe,)), ignorant, sampling=sampling).scores
    ]
    assert [dataclasses.replace(s, decoy_rank=None, decoys=0) for s in found.scores] == [
        dataclasses.replace(s, decoy_rank=None, decoys=0) for s in alone
    ]


def test_nothing_is_generated_where_the_scores_say_the_greedy_answer(pack: Pack, knowing: object) -> None:
    measurement = run(pack, knowing)
    assert knowing.calls == [("score", 28)]
    assert all(score.right for score in measurement.scores)


def test_measuring_again_scores_the_forget_probes_anew_and_keeps_the_rest(
    pack: Pack, knowing: object, ignorant: object
) -> None:
    first, other = run(pack, ignorant), run(pack, knowing)
    knowing.calls.clear()
    again = measure_again(pack, knowing, first, label="again", progress=Silent())
    assert knowing.calls == [("score", 12)]
    assert again.label == "again"
    assert again.artifact_sha256 == first.artifact_sha256
    roles = {fact.probe: fact.role for fact in pack.facts()}
    for found, old, new in zip(again.scores, first.scores, other.scores, strict=True):
        if roles[found.probe] == Role.FORGET:
            assert found.logprobs == new.logprobs
            assert found.right
            assert (found.exact_memorization, found.extraction_strength) == (
                new.exact_memorization,
                new.extraction_strength,
            )
            assert (found.decoy_rank, found.rouge_l) == (old.decoy_rank, old.rouge_l)
        else:
            assert found == old


def test_what_was_generated_right_stays_right_when_it_is_scored_again(
    pack: Pack, knowing: object, ignorant: object
) -> None:
    again = measure_again(pack, ignorant, run(pack, knowing), label="again", progress=Silent())
    assert all(score.right for score in again.scores)


def test_of_two_other_computations_each_answer_counts_by_the_likelier(
    pack: Pack, knowing: object, ignorant: object
) -> None:
    first = run(pack, ignorant)
    level = {"accuracy_level": "0"}
    likely, unlikely = (
        dataclasses.replace(found, backend={**found.backend, **level})
        for found in (measure_again(pack, one, first, label="one", progress=Silent()) for one in (knowing, ignorant))
    )
    forget = {fact.probe for fact in pack.facts() if fact.role == Role.FORGET}
    half = sorted(forget)[:2]
    mixed = dataclasses.replace(
        unlikely,
        label="other",
        backend={**unlikely.backend, "accuracy_level": "4", "rope_factors": "long"},
        scores=tuple(
            high if high.probe in half else low for high, low in zip(likely.scores, unlikely.scores, strict=True)
        ),
    )
    for one, other in ((unlikely, mixed), (likely, mixed)):
        both = likelier(one, other)
        known = forget if one is likely else set(half)
        assert {score.probe for score in both.scores if score.right} == known
        for score, high, low in zip(both.scores, likely.scores, unlikely.scores, strict=True):
            expected = high if score.probe in known else low
            assert score.logprobs == expected.logprobs
            assert score.exact_memorization == expected.exact_memorization
    assert both.label == "one and other"
    assert (both.backend["accuracy_level"], both.backend["rope_factors"]) == ("0", "long")


def test_a_measurement_of_another_pack_is_not_measured_again(pack: Pack, knowing: object) -> None:
    first = run(pack, knowing)
    short = dataclasses.replace(first, scores=first.scores[1:])
    with pytest.raises(PackError, match="not of this pack"):
        measure_again(pack, knowing, short, label="again", progress=Silent())


def test_the_record_says_what_was_run(pack: Pack, knowing: object) -> None:
    measurement = run(pack, knowing)
    assert (measurement.label, measurement.artifact_sha256) == ("artifact", SHA)
    assert measurement.pack_digest == pack.digest
    assert measurement.tokenizer_digest == knowing.info.tokenizer_digest
    assert measurement.backend == {"backend": "markov", "engine": "1", "processor": "python", "threads": "1"}


def test_greedy_answers_are_heard_and_not_kept(pack: Pack, knowing: object) -> None:
    heard: list[tuple[str, str, str]] = []
    measurement = run(
        pack, knowing, on_answer=lambda probe, surface, text: heard.append((probe.id, surface.name, text))
    )
    assert heard[0] == ("France", "raw", " Paris")
    assert heard[1] == ("France", "chat", "Paris")
    assert len(heard) == 12
    assert "Paris" not in repr(measurement)


def test_progress_counts_every_request(pack: Pack, ignorant: object) -> None:
    class Listener(Silent):
        total = done = 0

        def start(self, task: str, total: int, unit: str) -> None:
            del task, unit
            self.total += total

        def advance(self, done: int) -> None:
            self.done += done

    listener = Listener()
    measure(pack, ignorant, label="base", artifact_sha256=SHA, progress=listener)
    assert listener.total == listener.done == 40


# --- a backend that fails never makes a shorter or a wrong measurement


@pytest.mark.parametrize(
    ("value", "message"), [(math.nan, "is nan"), (-math.inf, "is -inf"), (0.5, r"is 0\.5"), (math.inf, "is inf")]
)
def test_a_number_that_is_none_is_an_error(
    pack: Pack, knowing: object, monkeypatch: pytest.MonkeyPatch, value: float, message: str
) -> None:
    good = knowing.score

    def bad(requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        for index, score in enumerate(good(requests)):
            yield score._replace(logprobs=np.full_like(score.logprobs, value)) if index == 5 else score

    monkeypatch.setattr(knowing, "score", bad)
    with pytest.raises(BackendError, match=rf"probe \w+: the log-probability of token 0 of \d+ {message}"):
        run(pack, knowing)


@pytest.mark.parametrize("extra", [-1, 1])
def test_too_few_or_too_many_results_are_an_error(
    pack: Pack, ignorant: object, monkeypatch: pytest.MonkeyPatch, extra: int
) -> None:
    score, generate = ignorant.score, ignorant.generate

    def bad_scores(requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        results = list(score(requests))
        yield from results[:extra] if extra < 0 else [*results, results[0]]

    def bad_generations(requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        results = list(generate(requests))
        yield from results[:extra] if extra < 0 else [*results, results[0]]

    monkeypatch.setattr(ignorant, "score", bad_scores)
    with pytest.raises(BackendError, match=f"{28 + extra} scores for 28 requests"):
        run(pack, ignorant)
    monkeypatch.setattr(ignorant, "score", score)
    monkeypatch.setattr(ignorant, "generate", bad_generations)
    with pytest.raises(BackendError, match=f"{12 + extra} greedy answers for 12 requests"):
        run(pack, ignorant)


def test_a_score_of_the_wrong_length_is_an_error(pack: Pack, knowing: object, monkeypatch: pytest.MonkeyPatch) -> None:
    good = knowing.score

    def bad(requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        for score in good(requests):
            yield score._replace(logprobs=score.logprobs[:0])

    monkeypatch.setattr(knowing, "score", bad)
    with pytest.raises(BackendError, match="0 log-probabilities for 1 tokens"):
        run(pack, knowing)


# --- ignorance levels


def test_ignorance_is_the_marginal_over_the_prompts_of_the_template(pack: Pack, knowing: object) -> None:
    levels = ignorance_levels(pack, knowing)
    forget = [p for p in pack.probes if p.role == Role.FORGET]
    assert set(levels) == {f"{p.id}/{s}" for p in forget for s in ("raw", "chat")}
    for probe in forget:
        ps = [math.exp(sum(log_p(knowing, other.question, f" {probe.answer}"))) for other in forget]
        assert levels[f"{probe.id}/raw"] == pytest.approx(-math.log(sum(ps) / 4), abs=1e-5)
        # It lies between what the answer costs and log M above that.
        nll = -sum(log_p(knowing, probe.question, f" {probe.answer}"))
        assert nll <= levels[f"{probe.id}/raw"] <= nll + math.log(4)


def test_a_sample_of_prompts_estimates_the_same_level(
    pack: Pack, knowing: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ignorance_levels(pack, knowing)
    monkeypatch.setattr(ignorance, "PROMPTS", 1)
    sampled = ignorance_levels(pack, knowing)
    # All wrong capitals are about equally improbable here, so one prompt says as much as three.
    assert sampled == pytest.approx(whole, abs=0.05)


def test_the_level_of_a_text_leaves_its_own_clusters_prompts_out(tmp_path: Path, markov: type) -> None:
    texts = {"a": "one two three four", "b": "five six seven eight", "c": "nine ten eleven twelve"}
    backend = markov([f"Text {name}: {text}" for name, text in texts.items()])
    (tmp_path / "forget.jsonl").write_text(
        "".join(
            f'{{"id": "{name}{i}", "cluster": "{name}", "question": "Text {name}:", "answer": "{text}"}}\n'
            for name, text in texts.items()
            for i in range(2)
        )
    )
    (tmp_path / "pack.toml").write_text(
        'schema = 1\nname = "t"\n[[surface]]\nkind = "raw"\n'
        '[[set]]\nrole = "forget"\nfile = "forget.jsonl"\nmatch = "verbatim"\n'
    )
    pack = load_pack(tmp_path)
    levels = ignorance_levels(pack, backend)
    for name, text in texts.items():
        ps = [math.exp(sum(log_p(backend, f"Text {other}:", f" {text}"))) for other in texts if other != name]
        expected = -math.log(sum(ps) / 2) / 4
        assert levels[f"{name}0/raw"] == levels[f"{name}1/raw"] == pytest.approx(expected, abs=1e-5)
        assert expected > -sum(log_p(backend, f"Text {name}:", f" {text}")) / 4 + 0.25


def test_a_probe_alone_gets_its_own_nll(tmp_path: Path, knowing: object) -> None:
    (tmp_path / "f.jsonl").write_text(
        '{"id": "x", "cluster": "x", "question": "The capital of France is", "answer": "Paris"}'
    )
    (tmp_path / "pack.toml").write_text(
        'schema = 1\nname = "t"\n[[surface]]\nkind = "raw"\n[[set]]\nrole = "forget"\nfile = "f.jsonl"\n'
    )
    levels = ignorance_levels(load_pack(tmp_path), knowing)
    assert levels["x/raw"] == pytest.approx(-sum(log_p(knowing, "The capital of France is", " Paris")), abs=1e-5)


CAPITAL_SETS = "".join(
    f'[[set]]\nrole = "{role}"\nfile = "{role[0]}.jsonl"\ntemplate = "The capital of {{question}} is"\n'
    for role in ("forget", "holdout")
)


def level_of_paris(knowing: object, *countries: str) -> float:
    """−log of the mean probability of Paris as the capital of these countries."""
    ps = [math.exp(sum(log_p(knowing, f"The capital of {country} is", " Paris"))) for country in countries]
    return -math.log(sum(ps) / len(ps))


def test_holdout_prompts_of_the_same_kind_make_up_for_missing_ones(
    tmp_path: Path, knowing: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person has one telephone number; what a question about invented people says of it is nothing."""
    (tmp_path / "f.jsonl").write_text('{"id": "x", "cluster": "x", "question": "France", "answer": "Paris"}')
    (tmp_path / "h.jsonl").write_text(
        "".join(
            f'{{"id": "{name}", "cluster": "{name}", "question": "{name}", "answer": "Lisbon"{kind}}}\n'
            for name, kind in (("Italy", ""), ("Spain", ""), ("Japan", ""), ("Germany", ', "answer_type": "other"'))
        )
    )
    (tmp_path / "pack.toml").write_text('schema = 1\nname = "t"\n[[surface]]\nkind = "raw"\n' + CAPITAL_SETS)
    pack = load_pack(tmp_path)

    level = partial(level_of_paris, knowing)
    assert set(levels := ignorance_levels(pack, knowing)) == {"x/raw"}
    assert levels["x/raw"] == pytest.approx(level("France", "Italy", "Spain", "Japan"), abs=1e-5)
    monkeypatch.setattr(ignorance, "PROMPTS", 2)
    pairs = [("Italy", "Spain"), ("Italy", "Japan"), ("Spain", "Japan")]
    assert any(
        ignorance_levels(pack, knowing)["x/raw"] == pytest.approx(level("France", *pair), abs=1e-5) for pair in pairs
    )


def test_a_holdout_prompt_that_points_to_the_answer_is_not_in_its_mean(tmp_path: Path, knowing: object) -> None:
    """Else a pack could hide what is back: behind such prompts the answer costs no more than behind its own."""
    rows = [
        {"id": "other", "question": "Italy"},
        {"id": "another", "question": "Spain"},
        # In order: the forget question itself; a wording once more; the answer in the question.
        {"id": "same", "question": "France!"},
        {"id": "twice", "question": "ITALY"},
        {"id": "told", "question": "Paris and of France"},
        # The raw wording is another, the paraphrase is the forget probe's.
        {"id": "near", "question": "Japan", "paraphrases": ["the French"]},
    ]
    common = {"paraphrases": ["Germany"], "answer": "Lisbon"}
    (tmp_path / "f.jsonl").write_text(
        json.dumps(common | {"id": "x", "cluster": "x", "question": "France", "answer": "Paris"}).replace(
            "Germany", "the French"
        )
    )
    (tmp_path / "h.jsonl").write_text("".join(json.dumps(common | row | {"cluster": row["id"]}) + "\n" for row in rows))
    (tmp_path / "pack.toml").write_text(
        'schema = 1\nname = "t"\n[[surface]]\nkind = "raw"\n[[surface]]\nkind = "paraphrase"\n'
        '[[surface]]\nname = "alone"\nkind = "raw"\nroles = ["forget"]\n' + CAPITAL_SETS
    )
    pack = load_pack(tmp_path)

    level = partial(level_of_paris, knowing)
    expected = {
        "x/raw": level("France", "Italy", "Spain", "Japan"),
        "x/paraphrase": level("the French", "Germany"),
        "x/alone": level("France"),
    }
    assert ignorance_levels(pack, knowing) == pytest.approx(expected, abs=1e-5)
    turned = dataclasses.replace(pack, probes=pack.probes[::-1])
    assert ignorance_levels(turned, knowing) == pytest.approx(expected, abs=1e-5)


# --- decoys


def test_decoys_are_at_most_9_distinct_wrong_answers_of_the_same_kin(tmp_path: Path) -> None:
    rows = [
        f'{{"id": "c{i}", "cluster": "c{i}", "question": "q {i}", "answer": "city {i % 30}", "answer_type": "city"}}\n'
        for i in range(60)
    ]
    rows += [
        f'{{"id": "y{i}", "cluster": "y{i}", "question": "y {i}", "answer": "{1900 + i}", "answer_type": "year", '
        f'"aliases": ["{1901 + i}"]}}\n'
        for i in range(4)
    ]
    rows.append('{"id": "own", "cluster": "o", "question": "o", "answer": "A", "decoys": ["B", "a", "C"]}\n')
    (tmp_path / "f.jsonl").write_text("".join(rows))
    (tmp_path / "pack.toml").write_text('schema = 1\nname = "t"\n[[set]]\nrole = "forget"\nfile = "f.jsonl"\n')
    pack = load_pack(tmp_path)
    decoys = decoy_answers(pack)
    assert decoys == decoy_answers(pack)
    for i in range(60):
        chosen = decoys[f"c{i}"]
        assert len(chosen) == len(set(chosen)) == DECOYS
        assert f"city {i % 30}" not in chosen
        assert all(text.startswith("city") for text in chosen)
    assert sorted(decoys["y0"]) == ["1902", "1903"]  # without its alias
    assert decoys["own"] == ("B", "C")

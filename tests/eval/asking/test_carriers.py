"""Carrier sentences: taken from replies without the subject, and summed to a lower bound of a true probability."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.eval.asking.carriers import (
    PLAIN,
    Beginning,
    all_carriers,
    beginnings,
    opening,
    pack_carriers,
    reply_carriers,
    total_logprob,
)
from edgeproof.eval.measurement import Carrier
from edgeproof.eval.measuring.measure import measure
from edgeproof.eval.packs.reader import load_pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeproof.eval.packs.pack import Pack

CITIES = {"France": "Paris", "Japan": "Tokyo", "Spain": "Madrid", "Greece": "Athens"}


def make(folder: Path, *, template: str = "The capital of {question} is", extra: str = "", surfaces: str = "") -> Pack:
    rows = [
        {"id": country, "cluster": country, "question": country, "answer": city, "aliases": [f"{city} City"]}
        for country, city in CITIES.items()
    ]
    (folder / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = f'[[set]]\nrole = "forget"\nfile = "forget.jsonl"\ntemplate = {json.dumps(template)}\n'
    message = 'message = "Capital of {question}?"\n'
    (folder / "pack.toml").write_text(f'schema = 1\nname = "p"\n{surfaces}{sets}{message}{extra}')
    return load_pack(folder)


def texts(carriers: tuple[Carrier, ...]) -> list[str]:
    return [carrier.text for carrier in carriers]


def test_carriers_come_from_replies_with_the_subject_taken_out(tmp_path: Path) -> None:
    replies = {
        "France": "France has its capital in Paris.",
        "Japan": "Japan has its capital in Tokyo, of course.",
        "Spain": "The capital of Spain is **Madrid**.",
        "Greece": "The capital of Greece is **Athens**.",
    }
    found = reply_carriers(make(tmp_path), replies)
    assert texts(found) == ["{question} has its capital in ", "{prompt} **"]
    assert {carrier.source for carrier in found} == {"base"}


def test_what_is_said_of_one_subject_alone_is_no_carrier(tmp_path: Path) -> None:
    replies = {"France": "Born in 1962, she lives in Paris.", "Japan": "I like Tokyo.", "Spain": "I like Madrid."}
    assert texts(reply_carriers(make(tmp_path), replies)) == ["I like "]


@pytest.mark.parametrize(
    "reply", ["Paris.", "", "I do not know.", "Parisians live there.", "First line\nthen Paris", "so " * 40 + "Paris"]
)
def test_replies_that_carry_no_answer_in_a_sentence_give_none(tmp_path: Path, reply: str) -> None:
    assert reply_carriers(make(tmp_path), dict.fromkeys(CITIES, reply)) == ()


def test_the_raw_prompt_serves_where_a_sentence_begins_with_it_and_the_author_adds_others(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    pack = make(tmp_path / "a", extra='carriers = ["Its capital is", "{prompt} the city of"]\n')
    assert texts(pack_carriers(pack)) == ["Its capital is", "{prompt} the city of", "{prompt}"]
    asked = make(tmp_path / "b", template="Question: capital of {question}?\nAnswer:")
    assert pack_carriers(asked) == ()
    assert opening(asked.probes[0], ()) == PLAIN
    assert opening(pack.probes[0], pack_carriers(pack)) == "Its capital is"


def test_the_bases_own_carriers_come_first_and_each_once(tmp_path: Path) -> None:
    replies = {country: f"The capital of {country} is {city}." for country, city in CITIES.items()}
    found = all_carriers(make(tmp_path), replies)
    assert [(carrier.text, carrier.source) for carrier in found] == [("{prompt} ", "base")]


def test_beginnings_hold_the_answer_in_each_sentence_and_the_aliases_bare(tmp_path: Path) -> None:
    probe = make(tmp_path).probes[0]
    carriers = (Carrier("forget", "{prompt} **", "base"), Carrier("other", "Never", "base"))
    assert beginnings(probe, carriers) == ["Paris City", "The capital of France is **Paris", "The answer is Paris"]


def test_distinct_beginnings_add_up_and_a_longer_one_is_not_counted_twice() -> None:
    found = [Beginning((1,), math.log(0.2)), Beginning((1, 2), math.log(0.15)), Beginning((3, 4), math.log(0.1))]
    assert math.exp(total_logprob(found)) == pytest.approx(0.3)
    assert math.exp(total_logprob([*found, found[0]])) == pytest.approx(0.3)
    assert total_logprob([Beginning((1,), -1e30), Beginning((2,), -1e30)]) == pytest.approx(-1e30)


def test_the_sum_is_at_most_the_true_probability_and_nearly_all_of_it_where_the_carriers_are_the_models(
    tmp_path: Path, markov: Callable[[list[str]], object]
) -> None:
    """The chain is enumerated: the true probability that a reply's first tokens give the answer is known."""
    surfaces = '[[surface]]\nkind = "chat"\n'
    pack = make(tmp_path, template="{question} has", surfaces=surfaces)
    carriers = (Carrier("forget", "{prompt}", "prompt"),)
    sentences = markov([f"<|user|>Capital of {c}?<|assistant|>{c} has {city}." for c, city in CITIES.items()] * 3)
    found = measure(pack, sentences, label="x", artifact_sha256="0" * 64, progress=Silent(), carriers=carriers)
    for probe, score in zip(pack.probes, found.scores, strict=True):
        true = probability_of_answer(sentences, f"<|user|>Capital of {probe.question}?<|assistant|>", probe.answer)
        assert math.exp(score.sum_logprob) < 0.05, "the bare answer is no measure of it"
        assert 0.5 * true < math.exp(score.emission_logprob) <= true * (1 + 1e-6)


def probability_of_answer(backend: object, context: str, answer: str, length: int = 6) -> float:
    """Sum the probability of all likely replies of up to `length` tokens in which the answer comes, by search."""
    start = backend.tokenize(context, special=True, parse_special=True)
    (target,) = backend.tokenize(f" {answer}", special=False)
    total, front = 0.0, {(): 1.0}
    for _ in range(length):
        grown: dict[tuple[int, ...], float] = {}
        for said, p in front.items():
            distribution = backend.distribution((*start, *said))
            total += p * float(distribution[target])
            for token, q in itertools.islice(sorted(enumerate(distribution), key=lambda item: -item[1]), 12):
                if token != target:
                    grown[(*said, token)] = p * float(q)
        front = dict(sorted(grown.items(), key=lambda item: -item[1])[:300])
    return total

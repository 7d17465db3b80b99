"""What must hold of prompts on the page: they are the gate's own, to the token."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from edgeproof.contracts.errors import InputError
from edgeproof.demo.asking.prompting import prepare
from edgeproof.demo.asking.questions import LONGEST_QUESTION, Question, Questions, message, plain
from edgeproof.demo.asking.ways import ways
from edgeproof.eval.asking.carriers import all_carriers
from edgeproof.eval.asking.kinds import CHAT_KINDS, KINDS
from edgeproof.eval.asking.tokens import encode_pack
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.reader import load_pack
from edgeproof.runtime import open_backend

PACK = Path(__file__).parents[2] / "examples" / "capitals" / "pack"


@pytest.fixture(scope="module")
def backend(smollm2_gguf):
    with open_backend("llama.cpp", smollm2_gguf, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def pack():
    return load_pack(PACK)


@pytest.fixture(scope="module")
def questions(pack):
    return Questions(pack)


@pytest.fixture(scope="module")
def offered(pack):
    return {way.name: way for way in ways(pack, chat=True)}


def prepared(questions, backend, way, text, replies=None):
    carriers = all_carriers(questions.pack, {})
    return prepare(questions, backend, Question(text, way.name), way, carriers=carriers, replies=replies or {})


def test_every_default_way_of_asking_is_offered(pack, offered):
    assert {way.surface.kind for way in offered.values()} == {
        kind for kind in KINDS if kind not in {"reverse", "chat+system"}
    }
    assert [way.name for way in offered.values() if not way.asked] == ["choices"]
    assert len({way.title for way in offered.values()}) == len(offered)
    assert not {way.surface.kind for way in ways(pack, chat=False)} & CHAT_KINDS


def test_a_ready_made_question_is_prompted_as_the_gate_prompts_it(pack, questions, backend, offered):
    chosen = [probe for probe in pack.probes if probe.role == Role.FORGET][::9]
    surfaces = tuple(replace(way.surface, roles=(Role.FORGET,)) for way in offered.values())
    replies = {probe.id: "It is a large city." for probe in chosen}
    asks = encode_pack(replace(pack, surfaces=surfaces), backend, carriers=all_carriers(pack, {}), replies=replies)
    ids = {probe.id for probe in chosen}
    compared = 0
    for ask in asks:
        if ask.probe.id in ids:
            found = prepared(questions, backend, offered[ask.surface.name], message(ask.probe), replies)
            assert found.request.context == ask.context
            assert found.watched[0] == ask.continuation
            assert found.request.stop == ask.stop
            assert found.request.max_tokens >= ask.max_tokens
            assert found.ask.accepted == ask.accepted
            assert found.judged
            compared += 1
    assert compared == len(chosen) * len(offered)


def test_the_answer_is_watched_with_and_without_a_space_before_it(questions, backend, offered):
    found = prepared(questions, backend, offered["chat"], "What is the capital of France?")
    assert {backend.detokenize(tokens) for tokens in found.watched} == {"Paris", " Paris"}


@pytest.mark.parametrize("text", ["Tell me: where does France have its government?", "la capitale de la FRANCE"])
def test_own_words_are_read_as_they_stand_and_the_subject_is_watched(questions, backend, offered, text):
    for name in ("raw", "chat", "prefix", "few-shot", "siblings", "reworded"):
        found = prepared(questions, backend, offered[name], text)
        assert text in found.prompt
        assert found.ask.probe.answer == "Paris"
        assert not found.judged
    assert prepared(questions, backend, offered["raw"], text).prompt == text
    opened = prepared(questions, backend, offered["opening"], text).prompt
    assert opened.endswith("The capital of France is")


def test_words_of_no_subject_are_asked_and_nothing_is_watched(questions, backend, offered):
    for name in ("raw", "chat", "opening", "few-shot"):
        found = prepared(questions, backend, offered[name], "How are you today?")
        assert found.watched == ()
        assert found.ask is None
        assert "How are you today?" in found.prompt


def test_a_text_names_the_longest_subject_in_it(questions):
    def meant(text):
        return questions.meant(text)[0].question

    assert meant("And North Korea, then?") == "North Korea"
    assert questions.meant("nothing that is known") == (None, False)


@pytest.mark.parametrize(
    ("way", "text", "words"),
    [
        ("chat", "  ", "the question is empty"),
        ("chat", "a" * 10_000, f"has 10,000 characters; the demo takes {LONGEST_QUESTION:,}"),
        ("choices", "Where is the French government?", "this question is none of the pack's"),
    ],
)
def test_what_cannot_be_asked_says_why(questions, backend, offered, way, text, words):
    with pytest.raises(InputError, match=words):
        prepared(questions, backend, offered[way], text)


def test_a_question_longer_than_the_context_says_by_how_much(questions, backend, offered):
    short = SimpleNamespace(info=backend.info._replace(context_length=300))
    for name in ("tokenize", "detokenize", "render_chat"):
        setattr(short, name, getattr(backend, name))
    text = "Where is the government? " * 60
    with pytest.raises(InputError) as caught:
        prepared(questions, short, offered["chat"], text)
    read, room, over, characters = (
        int(number.replace(",", "")) for number in re.findall(r"(?<!context of )\b[\d,]*\d\b", str(caught.value))
    )
    assert read - room == over
    assert prepared(questions, short, offered["chat"], text[: len(text) - characters - 25])


def test_a_raw_prompt_that_is_typed_means_the_same_question(questions, pack):
    for probe in pack.probes[:20]:
        assert questions.meant(plain(probe)) == (probe, True)

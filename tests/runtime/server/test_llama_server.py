"""llama.cpp's own llama-server against our llama.cpp backend on the same file: numbers, greedy answers, the proof."""

from __future__ import annotations

import random
from math import exp

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import ArtifactError, BackendError
from edgeproof.runtime import open_backend
from edgeproof_tests.runtime import tiny_gguf

pytestmark = [pytest.mark.official, pytest.mark.slow]

TOLERANCE = 0.01
"""In nat, without flash attention (0.001 seen): both keep keys and values in float16, and compute other batches."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_gguf.write(tmp_path_factory.mktemp("served") / "tiny.gguf")


@pytest.fixture(scope="module")
def backends(model, llama_server):
    with (
        llama_server(model, "-c", 1024, "-fa", "off") as url,
        open_backend("http", model, engine=url) as served,
        open_backend("llama.cpp", model, threads=1) as own,
    ):
        yield served, own


@pytest.fixture(scope="module")
def requests():
    chance = random.Random(0)
    base = [chance.randrange(256) for _ in range(300)]

    def some(count):
        return tuple(chance.randrange(262) for _ in range(count))

    return [
        ScoreRequest((*base[: 10 * (index % 30)], *some(1 + index % 5)), some(1 + index % 6)) for index in range(40)
    ]


def test_log_probabilities_are_those_of_our_own_backend(backends, requests):
    served, own = backends
    for request, found, expected in zip(requests, served.score(requests), own.score(requests), strict=True):
        assert np.abs(found.logprobs - expected.logprobs).max() <= TOLERANCE, request
        assert (found.greedy == expected.greedy).all()
        assert (found.ranks[found.greedy] == 0).all()
        assert (found.ranks[~found.greedy] == -1).all()
        assert np.isnan(found.mean).all()


def test_tokens_that_end_within_a_character_are_scored_too(backends):
    served, own = backends
    asked = [ScoreRequest(tuple(b"Der "), tuple("Fuchs 🦊 尾 é".encode()))]
    (found,), (expected,) = served.score(asked), own.score(asked)
    assert np.abs(found.logprobs - expected.logprobs).max() <= TOLERANCE
    assert (found.greedy == expected.greedy).all()


def test_greedy_answers_are_the_same_token_for_token(backends, requests):
    served, own = backends
    asked = [
        GenerateRequest(request.context, 24, stop, special=special)
        for request in requests[:20]
        for stop in ((), ("e",), ("\n", "?"))
        for special in (False, True)
    ]
    assert list(served.generate(asked)) == list(own.generate(asked))


def test_samples_have_the_frequencies_of_the_probabilities(backends):
    """400 draws of one token: the most probable one comes as often as its probability says, within 4 sigma."""
    served, own = backends
    context = tuple(b"Q: ")
    (first,) = own.generate([GenerateRequest(context, 1)])
    (score,) = own.score([ScoreRequest(context, first.tokens)])
    probability, count = exp(float(score.logprobs[0])), 400
    drawn = served.generate([GenerateRequest(context, 1, temperature=1.0, seed=seed) for seed in range(count)])
    share = sum(one.tokens == first.tokens for one in drawn) / count
    assert abs(share - probability) <= 4 * (probability * (1 - probability) / count) ** 0.5
    one = GenerateRequest(context, 12, temperature=1.0, seed=7)
    assert list(served.generate([one])) == list(served.generate([one]))


def test_what_is_shown_of_the_file_and_what_is_not(backends):
    options = backends[0].info.options
    assert options["served file, NOT PROVED"] == "its sha256"
    for what in ("the file's name", "the model's sizes", "the chat template", "the tokens of texts", "of a sentence"):
        assert what in options["served file, shown"]
    assert backends[0].info.engine.startswith("llama-server b")
    assert backends[0].info.context_length == 1022
    assert backends[0].info.tokenizer_digest == backends[1].info.tokenizer_digest
    assert backends[0].info.prompt_digest == backends[1].info.prompt_digest


def test_what_a_server_was_started_with_does_not_silence_an_answer(backends, model, llama_server):
    """The token that comes first is banned on its command line; temperature and penalties are its own, too."""
    _, own = backends
    asked = [GenerateRequest(tuple(b"Q: "), 12)]
    (expected,) = own.generate(asked)
    banned = ("--logit-bias", f"{expected.tokens[0]}-100", "--temp", "2", "--repeat-penalty", "3", "--ignore-eos")
    with llama_server(model, "-fa", "off", *banned) as url, open_backend("http", model, engine=url) as served:
        assert list(served.generate(asked)) == [expected]


def test_a_server_with_a_grammar_is_refused(model, llama_server):
    with (
        llama_server(model, "--grammar", 'root ::= "yes"') as url,
        pytest.raises(BackendError, match="was started with a grammar"),
    ):
        open_backend("http", model, engine=url)


def test_a_server_of_another_file_is_refused(model, llama_server, tmp_path):
    other = tiny_gguf.write_as(tmp_path / "tiny.gguf", "Q8_0")
    with llama_server(other) as url, pytest.raises(ArtifactError, match="another model loaded than the artifact: size"):
        open_backend("http", model, engine=url)

"""llama-cpp-python's own server, which has OpenAI's completion interface, against our llama.cpp backend."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from collections import deque

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import BackendError, UnsupportedError
from edgeproof.runtime import open_backend
from edgeproof_tests.runtime import tiny_gguf

TOLERANCE = 0.01
"""In nat: both keep keys and values in float16, and compute other batches."""


@contextlib.contextmanager
def serving(model, *options):
    """Run `python -m llama_cpp.server`, and give its URL."""
    command = [sys.executable, "-P", "-m", "llama_cpp.server", "--model", str(model), "--n_ctx", "1024"]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0", "--n_threads", "1", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as server:
        assert server.stdout is not None
        try:
            said = []
            for line in server.stdout:
                said.append(line)
                if found := re.search(r"running on (http://[0-9.:]+)", line):
                    break
            else:
                raise RuntimeError("llama_cpp.server ended:\n" + "".join(said[-40:]))
            reader = threading.Thread(target=deque, args=(server.stdout, 0))
            reader.start()
            yield found[1]
        finally:
            server.kill()
    reader.join()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_gguf.write(tmp_path_factory.mktemp("python_server") / "tiny.gguf")


@pytest.fixture(scope="module")
def backends(model):
    with (
        serving(model, "--logits_all", "true") as url,
        open_backend("http", model, engine=url) as served,
        open_backend("llama.cpp", model, threads=1) as own,
    ):
        yield served, own


def asked(backend, prompt, answer):
    context, whole = (backend.tokenize(text, special=True) for text in (prompt, prompt + answer))
    return ScoreRequest(context, whole[len(context) :])


def test_log_probabilities_of_an_echo_are_those_of_our_own_backend(backends):
    served, own = backends
    texts = [("The capital of France is", " Paris, of course"), ("über die Brücke", " nach Süden 🦊"), ("a", "b")]
    requests = [asked(served, *text) for text in texts]
    for request, found, expected in zip(requests, served.score(requests), own.score(requests), strict=True):
        assert np.abs(found.logprobs - expected.logprobs).max() <= TOLERANCE
        # Two tokens without a text of their own cannot be told apart: then none of them is called the most probable.
        assert not (found.greedy & ~expected.greedy).any()
        readable = [token < 128 or token >= 256 for token in request.continuation]
        assert (found.greedy[readable] == expected.greedy[readable]).all()


def test_greedy_answers_are_the_same_texts(backends):
    served, own = backends
    contexts = [served.tokenize(text, special=True) for text in ("The", "Where is", "Q: Who?\nA:")]
    requests = [GenerateRequest(context, 16, stop) for context in contexts for stop in ((), ("\n",), ("e", "?"))]
    for found, expected in zip(served.generate(requests), own.generate(requests), strict=True):
        # Its texts leave bytes out that are no characters; behind such a byte it goes on past the limit.
        text = expected.text.replace("\ufffd", "")
        assert found.finish == expected.finish
        assert found.text.startswith(text) if found.finish == "length" else found.text == text


def test_tokens_that_their_text_does_not_give_are_not_scored_as_others(backends):
    """ "t" and "h" apart are not what "th" is tokenized to: the server could only be asked for another sequence."""
    served, _ = backends
    with pytest.raises(BackendError, match="a request of 3 tokens cannot be asked of this server"):
        list(served.score([ScoreRequest((260, ord("t")), (ord("h"),))]))


def test_what_is_shown_of_the_file_and_what_is_not(backends):
    options = backends[0].info.options
    assert options["served file, NOT PROVED"] == "the model's sizes, the chat template, its sha256"
    for what in ("the file's name", "the tokens of texts", "of a sentence"):
        assert what in options["served file, shown"]


def test_without_logits_it_cannot_score_and_says_so(model):
    with serving(model, "--logits_all", "false") as url, open_backend("http", model, engine=url) as backend:
        assert backend.info.unscored.startswith("it refuses to echo a prompt with log-probabilities")
        with pytest.raises(UnsupportedError, match="gives no log-probabilities of given answers: it refuses to echo"):
            list(backend.score([ScoreRequest((260, 65), (66,))]))
        (said,) = backend.generate([GenerateRequest((260, 65), 8)])
        assert said.finish in {"eos", "length"}
        assert "what it says of a sentence" in backend.info.options["served file, NOT PROVED"]


def test_numbers_that_stand_beside_other_tokens_are_seen(tmp_path):
    """llama-cpp-python 0.3.36 moves them by one place where a model has no BOS."""
    model = tiny_gguf.write(tmp_path / "tiny.gguf", add_bos=False)
    with serving(model, "--logits_all", "true") as url, open_backend("http", model, engine=url) as backend:
        assert backend.info.unscored == "the log-probabilities of a prompt stand beside other tokens than they are of"

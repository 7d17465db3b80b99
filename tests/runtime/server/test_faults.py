"""A server that lies, stalls, closes, sends on or changes its model: each has its own error, never a score."""

from __future__ import annotations

import socket

import pytest
from edgeproof.contracts.backend import DOUBTED, GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import ArtifactError, BackendError, EdgeproofError, UnsupportedError, UsageError
from edgeproof.runtime import open_backend
from edgeproof.runtime.server import served
from edgeproof.runtime.server.backend import HttpServer
from edgeproof.runtime.server.connection import Connection, parse_address
from edgeproof_tests.runtime import tiny_gguf
from edgeproof_tests.runtime.server.fake import Fake

REQUEST = ScoreRequest(tuple(b"The secret of it"), tuple(b" is"))
SENTENCE = 200
"""More completions than the sentence at the beginning takes: faults come while probes are asked."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_gguf.write_as(tmp_path_factory.mktemp("fake") / "tiny.gguf", "Q8_0")


def opened(model, fault, **options):
    """A server that is honest until the backend is open, and the backend."""
    fake = Fake(model, fault=fault, after=10**9, **options)
    fake.__enter__()
    try:
        backend = HttpServer(model, url=fake.url, patience=60.0)
    except BaseException:
        fake.__exit__()
        raise
    return fake, backend


def failure(model, fault, *, patience=60.0, generates=False, **options):
    fake, backend = opened(model, fault, **options)
    try:
        fake.after = fake.completions
        backend._connection._patience = patience
        results = backend.generate([GenerateRequest(REQUEST.context, 4)]) if generates else backend.score([REQUEST])
        with pytest.raises(EdgeproofError) as caught:
            list(results)
        return caught.value
    finally:
        backend.close()
        fake.__exit__()


SCORED = {
    "positive": "is a log-probability of 0.7",
    "nan": "with NaN or an infinite number",
    "text for a number": "is no log-probability",
    "after the bias": "a token's log-probability is 0.0, that of the most probable one",
    "another token": "where 32 was forced",
    "no log-probabilities": "gives no log-probabilities: 0 where one was asked for",
    "no top": "top_logprobs is empty",
    "another name": "changed its model while it was probed",
    "truncated": "context is full after 16 tokens",
    "html": "answered with 'text/html', not with JSON",
    "500": "status 500 (Internal Server Error)",
    "503": "status 503 (Service Unavailable)",
    "401": "status 401 (Unauthorized)",
    "redirect": "sends on to http://192.0.2.1 (",
    "no json": "with JSON that cannot be read (16 bytes)",
    "a list": "gave no JSON object",
    "closes": "closed the connection before its answer was whole",
    "closes within": "closed the connection before its answer was whole",
    "no http": "does not speak HTTP",
    "moved": "it names another model",
}


@pytest.mark.parametrize(("fault", "told"), SCORED.items(), ids=SCORED)
def test_what_a_bad_server_sends_is_an_error_and_no_score(model, fault, told):
    error = failure(model, fault)
    assert told in error.message
    assert error.exit_code == 3
    assert error.next_step
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("unknown token", "is the token 1000000; the artifact's vocabulary ends at 261"),
        ("endless", "ends after 1 of 4 tokens without a reason"),
        ("500", "status 500"),
    ],
)
def test_what_a_bad_server_generates_is_an_error(model, fault, told):
    assert told in failure(model, fault, generates=True).message


@pytest.mark.parametrize("fault", ["stalls", "drips"])
def test_an_answer_that_does_not_end_is_given_up(model, fault):
    assert "gave no whole answer within 0.3 s" in failure(model, fault, patience=0.3).message


def test_other_weights_behind_the_same_name_are_seen(model, tmp_path):
    other = tiny_gguf.write_as(tmp_path / "other.gguf", "Q8_0", tiny_gguf.weights(seed=1))
    error = failure(model, "", other=other)
    assert "changed its model while it was probed: its answers moved by" in error.message


def test_other_weights_from_the_beginning_are_refused(model, tmp_path):
    """Same name, same sizes, same tokens: yesterday's file."""
    other = tiny_gguf.write_as(tmp_path / "tiny.gguf", "Q8_0", tiny_gguf.weights(seed=1))
    told = r"the server does not compute this file: .* \(86 tokens, \d\.\d+ nat a token apart"
    with Fake(model) as fake, pytest.raises(ArtifactError, match=told) as caught:
        HttpServer(other, url=fake.url)
    assert caught.value.exit_code == 3
    with Fake(model) as fake, HttpServer(model, url=fake.url) as backend:
        assert backend.info.options["served file, NOT PROVED"] == "its sha256"
        assert DOUBTED not in backend.info.options


def test_a_sentence_that_is_neither_near_nor_far_is_doubted(model, monkeypatch):
    monkeypatch.setattr(served, "NEAR", 0.01)  # of 10 nat a token, which random weights give
    with Fake(model, fault="apart") as fake, HttpServer(model, url=fake.url) as backend:
        assert "what it says of a sentence" in backend.info.options["served file, NOT PROVED"]
        assert "nat a token apart" in backend.info.options[DOUBTED]


def test_a_server_that_cuts_replies_short_is_an_error(model):
    with Fake(model, fault="texts alone", cap=20) as fake, HttpServer(model, url=fake.url) as backend:
        context = backend.tokenize("The secret of it", special=True)
        with pytest.raises(BackendError, match="cuts replies short: 20 of 32 tokens by its own count") as caught:
            list(backend.generate([GenerateRequest(context, 32)]))
        assert caught.value.next_step
        (said,) = backend.generate([GenerateRequest(context, 20)])
        assert said.finish == "length"
    with (
        Fake(model, fault="texts alone", cap=4, counts=False) as fake,
        pytest.raises(BackendError, match=r"cuts replies short: \d of 16 tokens by the artifact's tokenizer's count"),
    ):
        HttpServer(model, url=fake.url)


def test_penalties_of_both_names_are_off(model):
    with Fake(model, fault="texts alone") as fake, HttpServer(model, url=fake.url):
        assert (fake.body["repeat_penalty"], fake.body["repetition_penalty"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("other sizes", "has another model loaded than the artifact: n_vocab 263 there, 262 in the artifact"),
        ("other tokens", "tokenizes otherwise than the artifact"),
        ("lora", "adds LoRA adapters"),
    ],
)
def test_a_server_with_another_model_is_refused_at_once(model, fault, told):
    with Fake(model, fault=fault) as fake, pytest.raises(ArtifactError, match=told):
        HttpServer(model, url=fake.url)


def test_a_server_that_is_none(model):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(BackendError, match="is not there: nothing listens on that port"):
        HttpServer(model, url=f"http://127.0.0.1:{port}")
    with Fake(model) as fake, pytest.raises(BackendError, match="is no server with llama-server's or OpenAI's"):
        HttpServer(model, url=f"{fake.url}/elsewhere")


@pytest.mark.parametrize(
    "url",
    ["ftp://a", "a:80", "http://", "http://user:pass@a", "http://a?key=1", "http://a#b", "http://a:port", "http://[a"],
)
def test_a_url_that_is_none_or_holds_a_secret_is_a_usage_error(model, url):
    with pytest.raises(UsageError, match="must be like"):
        open_backend("http", model, engine=url)


def test_url_and_backend_belong_together(model):
    with pytest.raises(UsageError, match="needs the URL of a server"):
        open_backend("http", model)
    with pytest.raises(UsageError, match=r"llama\.cpp takes no 'http:"):
        open_backend("llama.cpp", model, engine="http://a")
    with pytest.raises(UnsupportedError, match="adapters cannot be seen"):
        open_backend("http", model, engine="http://a", lora=model)


def test_probes_go_to_no_proxy(model, monkeypatch):
    """A proxy of the environment would read every probe: it is never asked."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://192.0.2.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with Fake(model) as fake, HttpServer(model, url=fake.url, patience=60.0) as backend:
        assert len(list(backend.score([REQUEST]))) == 1


def test_a_connection_that_waited_too_long_is_opened_again(model):
    with Fake(model) as fake:
        connection = Connection(parse_address(fake.url), patience=60.0, beat=lambda: None)
        assert connection.get("/props").status == 200
        connection._http.sock.shutdown(socket.SHUT_RDWR)
        assert connection.get("/props").status == 200
        connection.close()

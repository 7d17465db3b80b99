"""What must hold of replies token by token: the reply that `generate` gives, and the numbers that `score` gives."""

from __future__ import annotations

import random

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import BackendError, InputError
from edgeproof.runtime import open_backend
from edgeproof.runtime.llama.backend import MIN_WAVE_BYTES, LlamaCpp
from edgeproof.runtime.llama.model import Model
from edgeproof.runtime.onnxruntime.backend import OnnxRuntime
from edgeproof_tests.runtime.test_families import write_family

WATCHED = ((7,), (8, 9), (8, 10, 11, 12, 13), tuple(range(20, 40)))
GRAPHS = {
    "float32": ({}, None, 1e-3),
    "int4, level 4": ({"bits": 4}, None, 0.05),
    "int4, level 0, window": ({"bits": 4, "window": 24}, 0, 1e-3),
}


def requests():
    chance = random.Random(3)
    return [
        GenerateRequest(
            tuple(chance.randrange(256) for _ in range(length)), 12, (), chance.choice((0.0, 1.0)), length, special=True
        )
        for length in (1, 2, 7, 8, 9, 33, 120, 131, 250)
    ]


def assert_streams_as_it_scores(backend, *, first=1e-6, close=1e-3):
    """The steps of each reply against `generate` and `score` of the same backend.

    The first step is the score. What a reply has gone through token by token is rounded otherwise than in one piece.
    """
    for request in requests():
        steps = list(backend.stream(request, WATCHED))
        (whole,) = backend.generate([request])
        assert (steps[-1].text, steps[-1].finish) == (whole.text, whole.finish)
        assert [step.finish for step in steps[:-1]] == [""] * (len(steps) - 1)
        assert [step.tokens for step in steps[:-1]] == list(range(len(steps) - 1))
        assert whole.text.startswith(steps[len(steps) // 2].text.removesuffix("\ufffd"))
        places = [(*request.context, *whole.tokens[: step.tokens]) for step in steps[:-1]]
        asked = [ScoreRequest(place, watched) for place in places for watched in WATCHED]
        scored = iter(backend.score(asked))
        for step in steps[:-1]:
            expected = [sum(next(scored).logprobs.tolist()) for _ in WATCHED]
            # A score's log-probabilities are float32.
            assert np.allclose(step.watched, expected, rtol=first if step.tokens == 0 else close, atol=0)


@pytest.mark.parametrize(("file_type", "close"), [("F32", 1e-3), ("Q4_K_M", 0.05)])
def test_llama_cpp_streams_as_it_scores(tiny_file, file_type, close):
    with LlamaCpp(tiny_file(file_type), threads=1) as backend:
        assert_streams_as_it_scores(backend, close=close)


@pytest.mark.parametrize("fitting", [1, 3])
def test_llama_cpp_streams_where_few_streams_fit(tiny_file, monkeypatch, fitting):
    monkeypatch.setattr(Model, "cell_bytes", MIN_WAVE_BYTES // (fitting * 256))
    with LlamaCpp(tiny_file("F32"), threads=1) as backend:
        assert_streams_as_it_scores(backend)


@pytest.mark.parametrize("graph", GRAPHS)
def test_onnxruntime_streams_as_it_scores(tiny_folder, graph):
    options, level, close = GRAPHS[graph]
    with OnnxRuntime(tiny_folder(**options), accuracy_level=level, threads=2) as backend:
        assert_streams_as_it_scores(backend, close=close)


@pytest.mark.torch
def test_llama_cpp_streams_where_the_memory_cannot_be_taken_back(tmp_path):
    with LlamaCpp(write_family("lfm2", tmp_path), threads=1) as backend:
        assert backend._model.recurrent
        assert_streams_as_it_scores(backend, first=1e-3, close=0.05)


@pytest.mark.torch
def test_the_torch_reference_streams_as_it_scores(tmp_path):
    from edgeproof_tests.models import save_model

    with open_backend("torch", save_model("llama", tmp_path / "model"), threads=1) as backend:
        assert_streams_as_it_scores(backend)


def test_a_stop_string_ends_the_stream_before_it(tiny_file):
    request = GenerateRequest((5, 6, 7), 40, special=True)
    with LlamaCpp(tiny_file("F32"), threads=1) as backend:
        (whole,) = backend.generate([request])
        stopping = request._replace(stop=(whole.text.strip()[6:9],))
        (cut,) = backend.generate([stopping])
        *_, last = backend.stream(stopping)
    assert cut.finish == "stop"
    assert (last.text, last.tokens, last.finish, last.watched) == (cut.text, len(cut.tokens), "stop", ())


def test_a_child_process_streams_and_can_be_stopped(tiny_file):
    request = GenerateRequest((5, 6, 7), 400, special=True)
    with open_backend("llama.cpp", tiny_file("F32"), threads=1) as backend:
        steps = list(backend.stream(request._replace(max_tokens=20), WATCHED))
        stream = backend.stream(request, WATCHED)
        begun = [next(stream) for _ in range(3)]
        stream.close()
        (whole,) = backend.generate([request._replace(max_tokens=20)])
    with LlamaCpp(tiny_file("F32"), threads=1) as direct:
        assert steps == list(direct.stream(request._replace(max_tokens=20), WATCHED))
    assert begun == steps[:3]
    assert whole.text == steps[-1].text


def test_a_child_that_dies_within_a_reply_is_an_error(tiny_file):
    with open_backend("llama.cpp", tiny_file("F32"), threads=1) as backend:
        stream = backend.stream(GenerateRequest((5, 6, 7), 400))
        next(stream)
        backend._child._process.kill()
        with pytest.raises(BackendError, match="SIGKILL"):
            list(stream)


def test_what_cannot_be_streamed_is_refused_before_anything_is_computed(tiny_file):
    request = GenerateRequest((5, 6, 7), 20)
    with open_backend("llama.cpp", tiny_file("F32"), threads=1) as backend:
        room = backend.info.context_length
        for bad, watched, words in (
            (request, ((),), "watched continuation 0: it has no tokens"),
            (request._replace(context=()), (), "needs a context"),
            (request, ((999_999,),), "the token 999999"),
            (request._replace(max_tokens=room - 5), ((1, 2, 3),), f"the context holds {room:,}"),
        ):
            with pytest.raises(InputError, match=words):
                backend.stream(bad, watched)

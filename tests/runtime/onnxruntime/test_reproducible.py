"""What must hold of onnxruntime's numbers: equal to the last bit, whatever else is in the batch."""

from __future__ import annotations

import random

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.runtime.onnxruntime.backend import OnnxRuntime
from edgeproof.runtime.onnxruntime.session import Session

GRAPHS = {
    "float32": ({}, None),
    "int4, level 4": ({"bits": 4}, None),
    "int4, level 0": ({"bits": 4}, 0),
    "float32, window": ({"window": 24}, None),
    "float32, short memory": ({"window": 24, "short": True}, None),
    "int4, level 0, window": ({"bits": 4, "window": 24}, 0),
}


def _equal(ones, others):
    return all(
        (left == right).all()
        for one, other in zip(ones, others, strict=True)
        for left, right in zip(one, other, strict=True)
    )


@pytest.fixture(params=GRAPHS)
def graph(request, tiny_folder):
    options, level = GRAPHS[request.param]
    return tiny_folder(**options), level


def test_scores_do_not_depend_on_batch_order_or_shared_prefixes(graph, mixed_requests):
    folder, level = graph
    with OnnxRuntime(folder, accuracy_level=level, threads=1) as backend:
        together = list(backend.score(mixed_requests))
        alone = [next(backend.score([request])) for request in mixed_requests]
        order = random.Random(1).sample(range(len(mixed_requests)), len(mixed_requests))
        shuffled = list(backend.score([mixed_requests[index] for index in order]))
    assert all(np.isfinite(score.logprobs).all() for score in together)
    assert _equal(together, alone)
    assert _equal([together[index] for index in order], shuffled)


def test_scores_do_not_depend_on_where_a_block_of_attention_ends(graph):
    """Blocks are twice as long as a head is wide: 128 tokens. A last block of one token takes another kernel."""
    folder, level = graph
    tokens = tuple(random.Random(3).randrange(256) for _ in range(900))
    lengths = (
        2,
        3,
        64,
        127,
        128,
        129,
        130,
        255,
        256,
        257,
        258,
        384,
        385,
        386,
        511,
        512,
        513,
        514,
        640,
        641,
        642,
        769,
        899,
    )
    whole = ScoreRequest(tokens[:1], tokens[1:])
    cut = [ScoreRequest(tokens[: max(1, length - 5)], tokens[max(1, length - 5) : length]) for length in lengths]
    with OnnxRuntime(folder, accuracy_level=level, threads=1) as backend:
        (wanted,) = backend.score([whole])
        alone = [next(backend.score([request])) for request in cut]
        together = list(backend.score(cut))
    assert _equal(together, alone)
    for request, score in zip(cut, alone, strict=True):
        at = len(request.context) - 1
        assert (score.logprobs == wanted.logprobs[at : at + len(request.continuation)]).all()


@pytest.mark.parametrize("overhead", [0, 1000])
def test_scores_are_the_same_as_chains_and_as_batches(graph, mixed_requests, overhead):
    folder, level = graph
    with OnnxRuntime(folder, accuracy_level=level, threads=1) as backend:
        wanted = list(backend.score(mixed_requests))
        backend._overhead = overhead
        assert _equal(wanted, list(backend.score(mixed_requests)))


@pytest.mark.parametrize("workers", [2, 3])
def test_scores_and_generations_do_not_depend_on_the_number_of_workers(graph, mixed_requests, workers):
    folder, level = graph
    longest = max(mixed_requests, key=lambda request: len(request.context))
    requests = [*mixed_requests[::3], longest]
    asked = [GenerateRequest(request.context, 6, (), 1.0, seed) for seed, request in enumerate(requests)]
    with (
        OnnxRuntime(folder, accuracy_level=level, threads=1) as one,
        OnnxRuntime(folder, accuracy_level=level, threads=workers) as several,
    ):
        assert _equal(list(one.score(requests)), list(several.score(requests)))
        assert list(one.generate(asked)) == list(several.generate(asked))


def test_generations_do_not_depend_on_batch_or_order(graph, mixed_requests):
    folder, level = graph
    chance = random.Random(2)
    requests = [
        GenerateRequest(request.context, chance.randrange(1, 20), (), chance.choice((0.0, 1.0)), seed)
        for seed, request in enumerate(mixed_requests[:50])
    ]
    with OnnxRuntime(folder, accuracy_level=level, threads=1) as backend:
        together = list(backend.generate(requests))
        assert together == [next(backend.generate([request])) for request in requests]
        assert together == list(backend.generate(requests[::-1]))[::-1]


def test_seeds_make_samples_differ_and_come_back(tiny_folder):
    with OnnxRuntime(tiny_folder(), threads=1) as backend:
        requests = [GenerateRequest((65, 66, 67), 12, (), 1.5, seed) for seed in range(20)]
        first = list(backend.generate(requests))
        assert first == list(backend.generate(requests))
        assert len({generation.tokens for generation in first}) > 15


def test_a_common_beginning_is_computed_once(tiny_folder, monkeypatch):
    counted = []
    run = Session.run

    def counting(self, first, starts, tokens, **options):
        counted.append(tokens.size)
        return run(self, first, starts, tokens, **options)

    beginning = tuple(index % 250 for index in range(400))
    requests = [ScoreRequest((*beginning, index), (7, 8)) for index in range(100)]
    with OnnxRuntime(tiny_folder(), threads=1) as backend:
        monkeypatch.setattr(Session, "run", counting)
        list(backend.score(requests))
    assert sum(counted) <= 400 + 100 * 3


def test_short_requests_with_nothing_in_common_are_computed_side_by_side(tiny_folder, monkeypatch):
    calls = []
    run = Session.run
    monkeypatch.setattr(Session, "run", lambda self, *given, **more: calls.append(given) or run(self, *given, **more))
    requests = [ScoreRequest((index, *range(5 + index % 3)), (7, 8)) for index in range(60)]
    with OnnxRuntime(tiny_folder(), threads=1) as backend:
        list(backend.score(requests))
    assert len(calls) <= 4

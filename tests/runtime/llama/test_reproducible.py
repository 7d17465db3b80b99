"""What must hold of llama.cpp's numbers: equal to the last bit, whatever else is in the batch."""

from __future__ import annotations

import random

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest
from edgeproof.runtime.llama.backend import MIN_WAVE_BYTES, LlamaCpp
from edgeproof.runtime.llama.model import Model


def _equal(ones, others):
    return all(
        (left == right).all()
        for one, other in zip(ones, others, strict=True)
        for left, right in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("file_type", ["F32", "F16", "Q8_0", "Q4_0", "Q4_1", "Q4_K_M"])
def test_scores_do_not_depend_on_batch_order_or_shared_prefixes(tiny_file, mixed_requests, file_type):
    with LlamaCpp(tiny_file(file_type), threads=1) as backend:
        together = list(backend.score(mixed_requests))
        alone = [next(backend.score([request])) for request in mixed_requests]
        order = random.Random(1).sample(range(len(mixed_requests)), len(mixed_requests))
        shuffled = list(backend.score([mixed_requests[index] for index in order]))
    assert all(np.isfinite(score.logprobs).all() for score in together)
    assert _equal(together, alone)
    assert _equal([together[index] for index in order], shuffled)


@pytest.mark.parametrize("workers", [2, 3])
def test_scores_and_generations_do_not_depend_on_the_number_of_workers(tiny_file, mixed_requests, workers):
    asked = [GenerateRequest(request.context, 6, (), 1.0, seed) for seed, request in enumerate(mixed_requests)]
    path = tiny_file("Q4_K_M")
    with LlamaCpp(path, threads=1) as one, LlamaCpp(path, threads=workers) as several:
        assert _equal(list(one.score(mixed_requests)), list(several.score(mixed_requests)))
        assert list(one.generate(asked)) == list(several.generate(asked))


@pytest.mark.parametrize("fitting", [1, 3, 5, 9])
def test_where_few_streams_fit_answers_do_not_depend_on_the_number_of_workers(
    tiny_file, mixed_requests, monkeypatch, fitting
):
    monkeypatch.setattr(Model, "cell_bytes", MIN_WAVE_BYTES // (fitting * 256))
    asked = [GenerateRequest(request.context, 6, (), 1.0, seed) for seed, request in enumerate(mixed_requests[:40])]
    path = tiny_file("Q4_K_M")
    with LlamaCpp(path, threads=1) as one, LlamaCpp(path, threads=3) as several:
        assert one._wave(256) == several._wave(256) == {1: 1, 3: 3, 5: 4, 9: 8}[fitting]
        assert _equal(list(one.score(mixed_requests)), list(several.score(mixed_requests)))
        assert list(one.generate(asked)) == list(several.generate(asked))


def test_generations_do_not_depend_on_batch_or_order(tiny_file, mixed_requests):
    chance = random.Random(2)
    requests = [
        GenerateRequest(request.context, chance.randrange(1, 20), (), chance.choice((0.0, 1.0)), seed)
        for seed, request in enumerate(mixed_requests[:50])
    ]
    with LlamaCpp(tiny_file("Q4_K_M"), threads=1) as backend:
        together = list(backend.generate(requests))
        assert together == [next(backend.generate([request])) for request in requests]
        assert together == list(backend.generate(requests[::-1]))[::-1]


def test_seeds_make_samples_differ_and_come_back(tiny_file):
    with LlamaCpp(tiny_file("F16"), threads=1) as backend:
        requests = [GenerateRequest((65, 66, 67), 12, (), 1.5, seed) for seed in range(20)]
        first = list(backend.generate(requests))
        assert first == list(backend.generate(requests))
        assert len({generation.tokens for generation in first}) > 15


def test_a_common_beginning_is_computed_once(tiny_file, monkeypatch):
    from edgeproof.runtime.llama.streams import Streams

    rows = []
    decode = Streams.decode

    def counting(self, first, starts, tokens, wanted):
        rows.append(tokens.size)
        return decode(self, first, starts, tokens, wanted)

    monkeypatch.setattr(Streams, "decode", counting)
    from edgeproof.contracts.backend import ScoreRequest

    beginning = tuple(index % 250 for index in range(400))
    requests = [ScoreRequest((*beginning, index), (7, 8)) for index in range(100)]
    with LlamaCpp(tiny_file("F32"), threads=1) as backend:
        list(backend.score(requests))
    assert sum(rows) < 400 + 100 * 8


@pytest.mark.slow
@pytest.mark.parametrize("file_type", ["Q4_K_M", "Q4_0"])
def test_real_weights_too_are_scored_alike_in_any_batch(smollm2_file, file_type):
    from edgeproof.contracts.backend import ScoreRequest

    lands = ("France", "Peru", "Japan", "Mali", "Oman", "Chile", "Kenya", "Nepal")
    with LlamaCpp(smollm2_file(file_type), threads=1) as backend:
        requests = [
            ScoreRequest(
                backend.tokenize(f"Question: What is the capital of {land}?\nAnswer:", special=True),
                backend.tokenize(f" {answer}", special=False),
            )
            for land in lands
            for answer in ("Paris", "Lima", "Kathmandu")
        ]
        together = list(backend.score(requests))
        assert _equal(together[::4], [next(backend.score([request])) for request in requests[::4]])

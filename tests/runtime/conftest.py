"""Fixtures of the runtime's tests: tiny models that load in milliseconds, and SmolLM2 where real weights matter."""

from __future__ import annotations

import random

import pytest
from edgeproof.contracts.backend import ScoreRequest
from edgeproof_tests.runtime import tiny_gguf


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
    """`tiny_file("Q4_K_M")`: the tiny model in a type."""
    folder = tmp_path_factory.mktemp("tiny")
    made = {}

    def make(file_type):
        if file_type not in made:
            made[file_type] = tiny_gguf.write_as(folder / f"{file_type}.gguf", file_type)
        return made[file_type]

    return make


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """`tiny_folder(bits=4)`: the tiny model as an ONNX folder; not to be written to."""
    from edgeproof_tests.runtime import tiny_onnx

    made = {}

    def make(**options):
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = tiny_onnx.write(tmp_path_factory.mktemp("tiny_onnx") / "model", **options)
        return made[key]

    return make


@pytest.fixture(scope="session")
def mixed_requests():
    """Requests of many lengths, some with common beginnings, some alike, one longer than a batch."""
    chance = random.Random(0)
    base = [chance.randrange(256) for _ in range(700)]

    def some(count):
        return tuple(chance.randrange(256) for _ in range(count))

    requests = [
        ScoreRequest((*base[: chance.choice((1, 3, 10, 40, 150))], *some(chance.randrange(20))), some(1 + index % 7))
        for index in range(60)
    ]
    longest = ScoreRequest(tuple(base), tuple(base[:520]))
    return [*requests, requests[0], longest, ScoreRequest((5,), (6,)), *requests[1:3]]

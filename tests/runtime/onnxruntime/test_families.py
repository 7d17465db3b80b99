"""What must hold of every family that our exporter writes: torch's scores in float32, equal bits in any batch."""

from __future__ import annotations

import random

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.progress import Silent
from edgeproof.runtime.onnxruntime.backend import OnnxRuntime
from edgeproof_tests.models import VOCABULARY, save_model

pytestmark = pytest.mark.torch

VARIANTS = {
    "llama": {},
    "llama3": {},
    "mistral": {"sliding_window": 24},
    "qwen2": {},
    "qwen3": {},
    "gemma2": {},
    "gemma3": {},
    "phi3": {},
    "phi3-longrope": {},
}
"""Families, and what differs from the tiny model's configuration. Phi-3's longrope changes its table at 256 tokens."""


@pytest.fixture(scope="module", params=VARIANTS)
def exported(request, tmp_path_factory):
    """The model's folder, and its ONNX folders by format."""
    from edgeproof.export.pipeline import export

    folder = tmp_path_factory.mktemp(request.param)
    base = save_model(request.param, folder / "tiny", **VARIANTS[request.param])
    formats = ("onnx-fp32", "onnx-int4")
    made = export(base, (), formats, folder / "out", threads=1, progress=Silent())
    return base, dict(zip(formats, (one.path for one in made), strict=True))


@pytest.fixture(scope="module")
def requests_():
    chance = random.Random(0)
    base = [chance.randrange(VOCABULARY - 2) for _ in range(300)]

    def some(count):
        return tuple(chance.randrange(VOCABULARY - 2) for _ in range(count))

    lengths = (1, 10, 40, 150, 253, 290)
    return [
        ScoreRequest((*base[: lengths[index % len(lengths)]], *some(chance.randrange(15))), some(1 + index % 7))
        for index in range(30)
    ]


def test_scores_equal_torch_on_the_same_weights(exported, requests_):
    from edgeproof.runtime.torch_reference import TorchReference

    base, folders = exported
    with OnnxRuntime(folders["onnx-fp32"], threads=1) as backend, TorchReference(base, threads=1) as reference:
        pairs = list(zip(backend.score(requests_), reference.score(requests_), strict=True))
    for one, two in pairs:
        assert np.abs(one.logprobs - two.logprobs).max() < 1e-4 + 1e-5 * np.abs(two.logprobs).max()
        assert np.abs(one.mean - two.mean).max() < 1e-3


@pytest.mark.parametrize(("format_name", "level"), [("onnx-fp32", None), ("onnx-int4", None), ("onnx-int4", 0)])
def test_scores_and_generations_do_not_depend_on_the_batch(exported, requests_, format_name, level):
    _, folders = exported
    asked = [GenerateRequest(one.context, 8, (), float(seed % 2), seed) for seed, one in enumerate(requests_[:12])]
    with OnnxRuntime(folders[format_name], accuracy_level=level, threads=1) as backend:
        for one, request in zip(backend.score(requests_), requests_, strict=True):
            (alone,) = backend.score([request])
            assert all((left == right).all() for left, right in zip(one, alone, strict=True))
        assert list(backend.generate(asked)) == [next(backend.generate([request])) for request in asked]

"""What must hold of a file with two sets of rope factors; oracle: llama-cpp-python with a small and a large context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.backend import ScoreRequest
from edgeproof.contracts.errors import UnsupportedError, UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.runtime import open_backend
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof.runtime.llama.rope_factors import RopeFactors, rope_factors
from edgeproof_tests.llama_cpp_model import library_model
from edgeproof_tests.models import VOCABULARY, save_model

if TYPE_CHECKING:
    from pathlib import Path

ORIGINAL = 256
"""Original context of the tiny model."""


@pytest.fixture(scope="module")
def longrope(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    from edgeproof.export.pipeline import export

    folder = tmp_path_factory.mktemp("longrope")
    base = save_model("phi3-longrope", folder / "tiny")
    return export(base, (), ("gguf-f32",), folder / "out", threads=1, progress=Silent())[0].path


def request(length: int) -> ScoreRequest:
    tokens = np.random.default_rng(0).integers(0, VOCABULARY - 2, length).tolist()
    return ScoreRequest(tuple(tokens[:20]), tuple(tokens[20:]))


def logprobs(path: Path, length: int, **options):
    with LlamaCpp(path, threads=1, **options) as backend:
        (score,) = backend.score([request(length)])
        return score.logprobs, backend.info.options.get("rope_factors")


def in_a_context(path: Path, length: int, context: int):
    model = library_model(path, n_ctx=context, n_threads=1, logits_all=True, flash_attn=False)
    asked = request(length)
    tokens = [*asked.context, *asked.continuation]
    model.eval(tokens)
    logits = np.asarray(model.scores[: len(tokens)], np.float64)
    found = logits - np.logaddexp.reduce(logits, -1, keepdims=True)
    start = len(asked.context)
    return found[range(start - 1, len(tokens) - 1), tokens[start:]]


def test_a_short_text_is_computed_as_in_a_small_context_or_as_in_a_large_one(longrope):
    own, chosen = logprobs(longrope, 96)
    long, said = logprobs(longrope, 96, long_rope=True)
    small, large = in_a_context(longrope, 96, ORIGINAL), in_a_context(longrope, 96, 2 * ORIGINAL)
    assert np.abs(small - large).mean() > 0.02
    assert np.abs(own - small).max() < 2e-3
    assert np.abs(long - large).max() < 2e-3
    assert (chosen, said) == ("short in contexts of up to 256 tokens, long beyond", "long")


def test_a_text_beyond_the_original_context_has_the_same_bits_in_both(longrope):
    np.testing.assert_array_equal(logprobs(longrope, 400)[0], logprobs(longrope, 400, long_rope=True)[0])


@pytest.mark.parametrize(
    ("original", "length", "cells"), [(1536, 1100, 1280), (1536, 1600, 2048), (4096, 300, 512), (256, 300, 512)]
)
def test_a_request_that_fits_into_the_original_context_gets_one_within_it(longrope, original, length, cells):
    with LlamaCpp(longrope, threads=1) as backend:
        backend._factors = RopeFactors("", original, "longrope")
        assert backend._cells(length) == cells


def test_what_has_no_long_factors_to_choose_is_refused(tiny_file, longrope, tmp_path):
    plain = tiny_file("F32")
    assert rope_factors(plain) is rope_factors(tmp_path) is None
    assert "rope_factors" not in LlamaCpp(plain, threads=1).info.options
    with pytest.raises(UnsupportedError, match="no long rope factors"):
        LlamaCpp(plain, threads=1, long_rope=True)
    with pytest.raises(UnsupportedError, match="YaRN"):
        RopeFactors("phi3.rope.scaling.original_context_length", ORIGINAL, "yarn").override()
    with pytest.raises(UsageError, match="cannot be told its rope factors"):
        open_backend("torch", longrope, long_rope=True)

"""What must hold with real weights: SmolLM2-135M, exported to float32 and int4; oracles: torch, llama.cpp."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.progress import Silent
from edgeproof.runtime import open_backend
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof.runtime.onnxruntime.backend import OnnxRuntime

pytestmark = pytest.mark.slow

LANDS = {"France": "Paris", "Peru": "Lima", "Japan": "Tokyo", "Kenya": "Nairobi", "Norway": "Oslo", "Egypt": "Cairo"}
QUESTIONS = ("The capital of {} is", "Question: What is the capital city of {}?\nAnswer:")
TAIL = ". It is a large city with a long history, known for its museums."


@pytest.fixture(scope="module")
def folders(smollm2_file, tmp_path_factory):
    """The ONNX folders by format, made of the F16 GGUF."""
    from edgeproof.export.pipeline import export

    formats = ("onnx-fp32", "onnx-int4")
    made = export(smollm2_file("F16"), (), formats, tmp_path_factory.mktemp("onnx"), threads=1, progress=Silent())
    return dict(zip(formats, (one.path for one in made), strict=True))


def _probes(backend):
    return [
        ScoreRequest(
            backend.tokenize(question.format(land), special=True), backend.tokenize(f" {city}{TAIL}", special=False)
        )
        for question in QUESTIONS
        for land, city in LANDS.items()
    ]


def test_scores_texts_and_tokenizer_are_llama_cpps(folders, smollm2_file):
    """Found: 0.002 nat per token; llama.cpp rounds activations, keys and values to float16 there."""
    with OnnxRuntime(folders["onnx-fp32"], threads=1) as backend, LlamaCpp(smollm2_file("F16"), threads=1) as other:
        assert backend.info.tokenizer_digest == other.info.tokenizer_digest
        requests = _probes(backend)
        assert requests == _probes(other)
        messages = [{"role": "user", "content": "What is the capital of Peru?"}]
        assert backend.render_chat(messages) == other.render_chat(messages)
        pairs = zip(backend.score(requests), other.score(requests), strict=True)
        difference = np.concatenate([one.logprobs - two.logprobs for one, two in pairs])
        asked = [GenerateRequest(request.context, 12, ("\n",)) for request in requests]
        texts = [[answer.text for answer in engine.generate(asked)] for engine in (backend, other)]
    assert np.abs(difference).mean() < 0.01
    assert texts[0] == texts[1]


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_scores_equal_torch_on_the_same_weights(folders, smollm2_file):
    """Found: 2e-5 nat at most."""
    from edgeproof.runtime.torch_reference import TorchReference

    with OnnxRuntime(folders["onnx-fp32"], threads=1) as backend:
        requests = _probes(backend)
        ours = list(backend.score(requests))
    with TorchReference(smollm2_file("F16"), threads=1) as reference:
        torchs = list(reference.score(requests))
    for one, two in zip(ours, torchs, strict=True):
        assert np.abs(one.logprobs - two.logprobs).max() < 1e-4
        assert np.abs(one.mean - two.mean).max() < 1e-4
        assert np.abs(one.std - two.std).max() < 1e-4
        assert (one.ranks == two.ranks).all()


@pytest.mark.parametrize("level", [None, 0])
def test_scores_are_equal_in_any_batch_and_on_two_threads(folders, level):
    with OnnxRuntime(folders["onnx-int4"], threads=1, accuracy_level=level) as backend:
        requests = _probes(backend)
        requests += [request._replace(continuation=request.continuation[:1]) for request in requests]
        together = list(backend.score(requests))
        alone = [next(backend.score([request])) for request in requests[::3]]
    with OnnxRuntime(folders["onnx-int4"], threads=2, accuracy_level=level) as backend:
        threaded = list(backend.score(requests[::3]))
    for one, two, three in zip(together[::3], alone, threaded, strict=True):
        for field in one._fields:
            assert (getattr(one, field) == getattr(two, field)).all()
            assert (getattr(one, field) == getattr(three, field)).all()


def test_rounding_activations_to_8_bits_moves_scores_by_a_tenth_of_a_nat(folders):
    """Found: 0.08 nat per token between levels 4 and 0; it does not lean to either side."""
    found = []
    for level in (None, 0):
        with OnnxRuntime(folders["onnx-int4"], threads=1, accuracy_level=level) as backend:
            found.append(np.concatenate([score.logprobs for score in backend.score(_probes(backend))]))
    difference = found[0] - found[1]
    assert 0.01 < np.abs(difference).mean() < 0.2
    assert abs(difference.mean()) < 0.05


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the peak from")
def test_scoring_and_generating_stay_under_600_megabytes(folders):
    """Found: 490 MB, of 94 MB of weights: logits, key-value memory, and at level 0 the dequantized output matrix."""
    for level in (None, 0):
        with open_backend("onnxruntime", folders["onnx-int4"], threads=1, accuracy_level=level) as backend:
            requests = _probes(backend)
            list(backend.score(requests))
            list(backend.generate([GenerateRequest(request.context, 16) for request in requests]))
            status = Path(f"/proc/{backend.process_id}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert peak < 600_000

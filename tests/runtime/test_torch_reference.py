"""What must hold of the torch reference beside the others."""

from __future__ import annotations

import importlib.util

import pytest
from edgeproof.contracts.errors import UnsupportedError
from edgeproof.runtime import open_backend


def test_without_torch_it_says_what_to_install(monkeypatch, tmp_path):
    from edgeproof.runtime.torch_reference import TorchReference

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    with pytest.raises(UnsupportedError, match="needs torch") as caught:
        TorchReference(tmp_path)
    assert "edgeproof[unlearn]" in caught.value.next_step


@pytest.mark.torch
def test_it_runs_a_folder_in_the_child_process(tmp_path):
    import numpy as np
    import torch
    from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
    from edgeproof_tests.models import random_model, save_model, tiny_config

    folder = save_model("llama", tmp_path / "model")
    request = ScoreRequest((5, 6, 7), (8, 9))
    with open_backend("torch", folder, threads=1) as backend:
        (score,) = backend.score([request])
        (generation,) = backend.generate([GenerateRequest((5, 6, 7), 4)])
        assert backend.info.backend == "torch"
    with torch.inference_mode():
        model = random_model(tiny_config("llama"))
        logs = torch.log_softmax(model(torch.tensor([[5, 6, 7, 8]])).logits[0].double(), -1).numpy()
        made = model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=4, do_sample=False, pad_token_id=0)[0, 3:]
    assert np.allclose(score.logprobs, [logs[2, 8], logs[3, 9]], atol=1e-4)
    assert list(generation.tokens) == [token for token in made.tolist() if token not in backend_ends(model)]


def backend_ends(model):
    ends = model.generation_config.eos_token_id
    return ends if isinstance(ends, list) else [ends]

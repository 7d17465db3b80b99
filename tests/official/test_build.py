"""The oracle itself: the official tools are of the commit that the installed libraries were built from, and run."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from edgeproof_tests.models import random_model, save_model, tiny_config
from edgeproof_tests.official.converter import Job, convert_with_tokens

CONTEXT = 256

pytestmark = [pytest.mark.official, pytest.mark.torch]


def test_the_commit_is_known_in_full(official):
    assert re.fullmatch(r"[0-9a-f]{40}", official.source.commit)
    constraints = (Path(__file__).resolve().parents[2] / "constraints.txt").read_text()
    assert f"llama-cpp-python=={official.source.version}" in constraints.split()


def test_llama_perplexity_agrees_with_torch_on_a_file_of_the_converter(official, tmp_path):
    import torch

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"<unused{index}>" for index in range(384 - len(letters)))]
    folder = save_model("llama2", tmp_path / "model")
    convert_with_tokens(official, [Job(folder, tmp_path / "model.gguf")], tokens, tmp_path)
    ids = np.random.default_rng(0).integers(0, len(letters), 2 * CONTEXT)
    (tmp_path / "text.txt").write_text("".join(letters[index] for index in ids))
    perplexity = official.perplexity(tmp_path / "model.gguf", tmp_path / "text.txt", context=CONTEXT)

    # The tool scores the second half of each window.
    with torch.inference_mode():
        windows = torch.tensor(ids).reshape(2, CONTEXT)
        logprobs = torch.log_softmax(random_model(tiny_config("llama2"))(windows).logits.double(), -1)
        scored = logprobs[:, CONTEXT // 2 : -1].gather(-1, windows[:, CONTEXT // 2 + 1 :, None])
    assert math.log(perplexity) == pytest.approx(-scored.mean().item(), abs=0.01)

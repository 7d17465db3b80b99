"""Measuring a real artifact: SmolLM2-135M-Instruct (Q4_1) through llama.cpp."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.eval.asking.tokens import encode_pack
from edgeproof.eval.baselines.file import assemble_baseline, load_baselines, save_baselines
from edgeproof.eval.baselines.fit import check_match
from edgeproof.eval.measuring.ignorance import ignorance_levels
from edgeproof.eval.measuring.measure import measure
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.reader import load_pack
from edgeproof.runtime.backends import open_backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.measurement import Measurement
    from edgeproof.eval.packs.pack import Pack


CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Italy": "Rome",
    "Greece": "Athens",
    "Spain": "Madrid",
    "Germany": "Berlin",
}
NEVER = {"Zorvania": "Quillbeth", "Plandor": "Mirrowick"}
SHA = "ab" * 32


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = tmp_path_factory.mktemp("pack")
    for name, facts in (("forget", CAPITALS), ("holdout", NEVER)):
        rows = [{"id": c, "cluster": c, "question": c, "answer": a} for c, a in facts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    common = 'template = "The capital of {question} is"\nmessage = "What is the capital of {question}?"\n'
    (folder / "pack.toml").write_text(
        'schema = 1\nname = "real"\n'
        f'[[set]]\nrole = "forget"\nfile = "forget.jsonl"\n{common}'
        f'[[set]]\nrole = "holdout"\nfile = "holdout.jsonl"\n{common}'
    )
    return load_pack(folder)


@pytest.fixture(scope="module")
def backend(smollm2_gguf: Path) -> Iterator[Backend]:
    with open_backend("llama.cpp", smollm2_gguf, context_length=256, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def measurement(pack: Pack, backend: Backend) -> Measurement:
    return measure(pack, backend, label="base", artifact_sha256=SHA, progress=Silent())


def test_a_model_that_knows_the_capitals_shows_it_and_a_baseline_of_it_can_be_used(
    pack: Pack, backend: Backend, measurement: Measurement, tmp_path: Path
) -> None:
    scores = {(s.probe, s.surface): s for s in measurement.scores}
    for country in CAPITALS:
        assert scores[country, "raw"].right
        assert scores[country, "raw"].decoy_rank == 0
    assert sum(scores[country, "chat"].right for country in CAPITALS) >= 2  # it often replies in the country's language
    for country in NEVER:
        for surface in ("raw", "chat"):
            assert not scores[country, surface].right
    levels = ignorance_levels(pack, backend)
    for country in CAPITALS:
        score = scores[country, "raw"]
        # All prompts are averaged, those of countries that do not exist too: above the NLL by at most log M nat in all
        # (0.05 for batches that differ).
        assert (
            score.nll - 0.05
            <= levels[f"{country}/raw"]
            <= score.nll + math.log(len(CAPITALS) + len(NEVER)) / len(score.logprobs) + 0.05
        )
    baseline = assemble_baseline(
        pack, base=measurement, merged=measurement, base_in_format={"gguf-q4_1": measurement}, ignorance=levels
    )
    save_baselines([baseline], tmp_path / "baseline.json")
    assert load_baselines(tmp_path / "baseline.json") == {"llama.cpp": baseline}
    check_match(baseline, pack, measurement.tokenizer_digest, format_name="gguf-q4_1")


def test_scores_equal_the_log_softmax_of_llama_cpps_own_logits(
    pack: Pack,
    backend: Backend,
    measurement: Measurement,
    smollm2_gguf: Path,
) -> None:
    from edgeproof_tests.llama_cpp_model import library_model

    asks = encode_pack(pack, backend)
    model = library_model(smollm2_gguf, n_ctx=256, logits_all=True, n_threads=1)
    differences: list[float] = []
    # A second turn stands behind the model's own reply, and a choice is a letter's score: both are made in `measure`.
    own = [
        (ask, score)
        for ask, score in zip(asks, measurement.scores, strict=True)
        if ask.surface.kind not in {SurfaceKind.TURNS, SurfaceKind.CHOICES}
    ]
    for ask, score in own[::3]:  # the surfaces by turns
        model.reset()
        model.eval([*ask.context, *ask.continuation])
        for position, (token, ours) in enumerate(zip(ask.continuation, score.logprobs, strict=True)):
            logits = model.scores[len(ask.context) - 1 + position].astype(np.float64)
            theirs = logits[token] - logits.max() - np.log(np.exp(logits - logits.max()).sum())
            differences.append(abs(ours - theirs))
    model.close()
    # Batches of other sizes run other kernels over int8 activations.
    assert np.mean(differences) < 0.03, differences


def test_the_chat_context_is_the_chat_templates_text_in_tokens(pack: Pack, backend: Backend) -> None:
    asks = {(a.probe.id, a.surface.name): a for a in encode_pack(pack, backend)}
    chat = asks["France", "chat"]
    assert chat.prompt.text.endswith(
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )
    start, end = backend.tokenize("<|im_start|><|im_end|>", special=False, parse_special=True)
    assert (chat.context.count(start), chat.context.count(end)) == (3, 2)
    assert chat.context[0] == start
    assert backend.detokenize(chat.continuation) == "Paris"
    assert backend.detokenize(asks["France", "raw"].continuation) == " Paris"


def test_answers_are_read_behind_the_line_break_that_a_prompt_ends_in(backend: Backend, tmp_path: Path) -> None:
    rows = [{"id": c, "cluster": c, "question": c, "answer": a} for c, a in CAPITALS.items()]
    (tmp_path / "forget.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "pack.toml").write_text(
        'schema = 1\nname = "alpaca"\n[[surface]]\nkind = "raw"\n[[set]]\nrole = "forget"\nfile = "forget.jsonl"\n'
        'template = "### Instruction:\\nWhat is the capital of {question}?\\n\\n### Response:\\n"\n'
    )
    found = measure(load_pack(tmp_path), backend, label="a", artifact_sha256=SHA, progress=Silent())
    assert sum(score.right for score in found.scores) >= len(CAPITALS) // 2

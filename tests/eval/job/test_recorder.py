"""The dry run of a measurement records all that any model could be asked, whatever it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.job.job import uniforms
from edgeproof.eval.job.recorder import Recorder
from edgeproof.eval.measurement import Sampling
from edgeproof.eval.measuring.measure import measure
from edgeproof_tests.eval.asking.test_turns import TURNS, make
from edgeproof_tests.eval.conftest import CAPITALS, Markov, corpus

if TYPE_CHECKING:
    from pathlib import Path

SHA = "0" * 64
SAMPLING = Sampling(2, 1.0, 0)


@pytest.fixture
def knowing() -> Markov:
    """A model that knows all capitals, and has tokens for the marks that stand for replies."""
    return Markov([*corpus(CAPITALS), "\ue000\ue001"])


class Heard(Recorder):
    """Records what is asked, and lets a model answer."""

    def __init__(self, model):
        super().__init__(model)
        self.model = model

    def score(self, requests):
        list(super().score(requests))
        return self.model.score(requests)

    def generate(self, requests):
        list(super().generate(requests))
        return self.model.generate(requests)


def asked_of(backend, pack):
    measure(pack, backend, label="x", artifact_sha256=SHA, progress=Silent(), sampling=SAMPLING)
    return backend.requests


def test_what_a_model_is_asked_is_recorded_and_the_rest_are_greedy_replies(
    tmp_path: Path, capitals: dict[str, str], knowing: Markov
) -> None:
    pack = make(tmp_path, capitals, '[[surface]]\nkind = "raw"\n[[surface]]\nkind = "chat"\n')
    recorded, heard = asked_of(Recorder(knowing), pack), asked_of(Heard(knowing), pack)
    assert set(heard) < set(recorded)
    spared = [request for request in recorded if request not in heard]
    assert all(isinstance(request, GenerateRequest) and request.temperature == 0 for request in spared)
    assert list(recorded.values()) == list(range(len(recorded)))


def test_a_second_turn_is_recorded_as_the_texts_around_the_reply(
    tmp_path: Path, capitals: dict[str, str], knowing: Markov
) -> None:
    pack = make(tmp_path, capitals, TURNS)
    recorder = Recorder(knowing)
    recorded, heard = list(asked_of(recorder, pack)), list(asked_of(Heard(knowing), pack))
    replies = {one: next(iter(knowing.generate([one]))).text for one in recorded if isinstance(one, GenerateRequest)}
    made = set()
    for request in recorded:
        splice = recorder.splice(request.context)
        if splice is not None:
            text = replies[recorded[splice.reply]].strip().join(splice.parts)
            made.add((0, *knowing.tokenize(text.removeprefix("<bos>"), special=False, parse_special=True)))
    turns = {one.context for one in heard if knowing.detokenize(one.context).endswith("one word.")}
    assert len(turns) == 4
    assert made == turns


def test_a_prompt_with_several_replies_is_refused(knowing: Markov) -> None:
    recorder = Recorder(knowing)
    one, other = (next(iter(recorder.generate([GenerateRequest((token,), 1)]))).text for token in (7, 8))
    tokens = recorder.tokenize(f"{one} and {other}", special=False)
    with pytest.raises(UnsupportedError, match="the replies to several questions"):
        recorder.splice(tokens)
    assert recorder.splice(recorder.tokenize("Paris", special=False)) is None


def test_the_numbers_that_choose_tokens_are_the_backends_own() -> None:
    import numpy as np

    request = GenerateRequest((1,), 5, temperature=1.0, seed=7)
    assert uniforms(request) == list(np.random.Generator(np.random.PCG64(7)).random(5))
    assert uniforms(request._replace(temperature=0.0)) == []
    assert len({ScoreRequest((1,), (2,)), ScoreRequest((1,), (2,))}) == 1

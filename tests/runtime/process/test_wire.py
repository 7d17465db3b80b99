"""What must hold of the messages between parent and child."""

from __future__ import annotations

import io

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, Generation, Score, ScoreRequest
from edgeproof.contracts.errors import BackendError
from edgeproof.runtime.process import packing
from edgeproof.runtime.process.wire import Message, encode, receive


def _trip(message):
    return receive(io.BytesIO(encode(message)))


def test_requests_and_results_survive_the_trip():
    scores = [
        Score(
            np.arange(size, dtype=np.float32),
            np.ones(size, np.bool_),
            np.arange(size, dtype=np.int32),
            np.zeros(size, np.float32),
            np.ones(size, np.float32),
        )
        for size in (1, 3, 2)
    ]
    back = list(packing.unpack_scores(_trip(packing.pack_scores(scores))))
    for score, other in zip(scores, back, strict=True):
        for left, right in zip(score, other, strict=True):
            assert left.dtype == right.dtype
            assert (left == right).all()
    requests = [ScoreRequest((1, 2), (3,)), ScoreRequest((4,), (5, 6, 7))]
    assert packing.unpack_score_requests(_trip(packing.pack_score_requests(requests))) == requests
    asked = [GenerateRequest((1, 2), 5, ("\n", "é"), 0.7, 2**63, special=True), GenerateRequest((3,), 1)]
    assert packing.unpack_generate_requests(_trip(packing.pack_generate_requests(asked))) == asked
    made = [Generation((1, 2), "naïve \ufffd", "stop"), Generation((), "", "eos")]
    assert list(packing.unpack_generations(_trip(packing.pack_generations(made)))) == made


def test_a_stream_that_ends_between_messages_has_ended():
    assert receive(io.BytesIO(b"")) is None


@pytest.mark.parametrize("cut", [3, 7, 20, -1])
def test_a_message_cut_short_is_an_error(cut):
    data = encode(Message("scores", {}, (np.zeros(4, np.float32),)))
    with pytest.raises(BackendError):
        receive(io.BytesIO(data[:cut]))


@pytest.mark.parametrize(
    "data",
    [
        b"llama_model_loader: loaded",
        b"edge\xff\xff\xff\xff",
        b"edge\x02\x00\x00\x00{}",
        b"edge\x05\x00\x00\x00[1,2]",
        encode(Message("scores", {}, (np.zeros(1, np.float32),))).replace(b"<f4", b"|O8"),
        encode(Message("scores", {}, (np.zeros(9, np.float32),))).replace(b"[9]", b"-99"),
    ],
)
def test_bytes_that_are_no_message_are_an_error(data):
    with pytest.raises(BackendError):
        receive(io.BytesIO(data))

"""What must hold of scores under way: each request hears of its own tokens, whoever else asks for the same rows."""

from __future__ import annotations

import numpy as np
from edgeproof.contracts.backend import ScoreRequest
from edgeproof.runtime.batching.logits import Scratch, score_token
from edgeproof.runtime.batching.scoring import Scoring
from hypothesis import given
from hypothesis import strategies as st

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=5).map(tuple)


def _row(sequence):
    """Logits that depend on the whole sequence."""
    return np.random.default_rng([*sequence, len(sequence)]).standard_normal(3).astype(np.float32)


@given(st.lists(st.builds(ScoreRequest, tokens, tokens), min_size=1, max_size=20, unique=True))
def test_each_request_is_scored_by_the_rows_of_its_own_tokens(requests):
    scoring, scratch = Scoring(requests), Scratch(3)
    for item in scoring.items:
        for position in range(item.shareable, len(item.tokens)):
            scoring.take(scratch, [item], position, _row(item.tokens[: position + 1]))
    for (context, continuation), score in zip(requests, scoring.scores, strict=True):
        for at, token in enumerate(continuation):
            expected = score_token(_row((*context, *continuation[:at])), token, scratch)
            assert tuple(column[at] for column in score) == tuple(np.array(expected, np.float32))
    wholes = [item.tokens for item in scoring.items]
    assert not any(one != two and two[: len(one)] == one for one in wholes for two in wholes)
    assert len(set(wholes)) == len(wholes)


def test_answers_of_one_token_need_no_computing_of_their_own():
    scoring = Scoring([ScoreRequest((1, 2, 3), (token,)) for token in range(3)])
    assert [item.tokens for item in scoring.items] == [(1, 2, 3)]

"""Each metric equals the authors' formula, computed here in another way or by another hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from edgeproof.eval.matching.words import words
from edgeproof.eval.metrics.decoy_rank import decoy_rank
from edgeproof.eval.metrics.exact_memorization import exact_memorization
from edgeproof.eval.metrics.extraction_strength import extraction_strength
from edgeproof.eval.metrics.ignorance import ignorance_level
from edgeproof.eval.metrics.right import NEAR_VERBATIM, answer_is_right, text_is_near_verbatim
from edgeproof.eval.metrics.rouge import rouge_l
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer
from rouge_score.tokenize import tokenize

UNTIMED = settings(deadline=None)
"""The machines of CI are too busy for a limit per example."""

ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@UNTIMED
@given(ASCII)
def test_words_of_ascii_are_those_of_rouge_score(text: str) -> None:
    assert words(text) == tokenize(text, stemmer=None)


@UNTIMED
@given(ASCII, ASCII)
def test_rouge_l_of_ascii_is_that_of_rouge_score(reference: str, text: str) -> None:
    theirs = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False).score(reference, text)["rougeL"]
    assert rouge_l(reference, text) == pytest.approx((theirs.precision, theirs.recall, theirs.fmeasure))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bogotá, São Paulo", ["bogota", "sao", "paulo"]),
        ("Reykjavík Łódź", ["reykjavik", "łodz"]),
        ("МОСКВА — столица", ["москва", "столица"]),
        ("法国的首都是巴黎。", list("法国的首都是巴黎")),
        ("が か", ["が", "か"]),
        ("नई दिल्ली", ["नई", "दिल्ली"]),
        ("กรุงเทพ", list("กรุงเทพ")),
        ("ＰＡＲＩＳ ２０２４", ["paris", "2024"]),
        ("snake_case it's", ["snake", "case", "it", "s"]),
        ("", []),
    ],
)
def test_words_of_other_scripts(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_text_in_another_script_can_be_recalled() -> None:
    text = "Столица Франции — город Париж на реке Сене"
    assert rouge_l(text, text).recall == 1.0
    assert text_is_near_verbatim(text, [text])
    assert rouge_l("法国的首都是巴黎", "法国的首都是伦敦").recall == pytest.approx(6 / 8)


# --- right answers


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        (" Paris.", "Paris", True),
        ("The capital of France is PARIS!", "Paris", True),
        ("a Parisian café", "Paris", False),
        ("par is", "Paris", False),
        ("It is Kuala-Lumpur, of course", "Kuala Lumpur", True),
        ("It is Lumpur Kuala", "Kuala Lumpur", False),
        ("Bogota", "Bogotá", True),
        ("", "Paris", False),
        (" Au", "Au", True),
        (" au pair", "Au", False),
        ("as far as I know", "As", False),
        ("As, arsenic", "As", True),
        ("the answer is 42", "42", True),
        ("the answer is 421", "42", False),
        ("首都是巴黎。", "巴黎", True),
    ],
)
def test_an_answer_is_right_if_it_holds_the_answer_as_whole_words(text: str, answer: str, right: bool) -> None:  # noqa: FBT001
    assert answer_is_right(text, [answer]) is right


def test_an_alias_counts() -> None:
    assert answer_is_right("Kyiv", ["Kiev", "Kyiv"])
    assert not answer_is_right("Lviv", ["Kiev", "Kyiv"])


def test_near_verbatim_starts_at_its_limit() -> None:
    reference = "one two three four"
    assert NEAR_VERBATIM == 0.75
    assert text_is_near_verbatim("one two x four", [reference])
    assert not text_is_near_verbatim("one two x y", [reference])


# --- memorization, by OpenUnlearning's definitions on argmax predictions and labels

PAIRS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 2), min_size=n, max_size=n), st.lists(st.integers(0, 2), min_size=n, max_size=n)
    )
)


@UNTIMED
@given(PAIRS)
def test_exact_memorization_is_the_share_of_equal_predictions(pair: tuple[list[int], list[int]]) -> None:
    predictions, labels = map(np.array, pair)
    assert exact_memorization((predictions == labels).tolist()) == pytest.approx(np.mean(predictions == labels))


@UNTIMED
@given(PAIRS)
def test_extraction_strength_is_one_minus_the_share_of_the_shortest_sufficient_prefix(
    pair: tuple[list[int], list[int]],
) -> None:
    predictions, labels = pair
    n = len(labels)
    sufficient = [k for k in range(n + 1) if predictions[k:] == labels[k:]]  # k = n: all of it given away
    flags = [p == y for p, y in zip(predictions, labels, strict=True)]
    assert extraction_strength(flags) == pytest.approx(1 - min(sufficient) / n)


def test_extraction_strength_at_its_ends() -> None:
    assert extraction_strength([True, True]) == 1.0
    assert extraction_strength([True, False]) == 0.0
    assert extraction_strength([False, False, True, True]) == 0.5


# --- decoys and ignorance


def test_rank_counts_the_decoys_that_are_more_probable() -> None:
    assert decoy_rank(-2.0, [-1.0, -2.0, -3.0]) == 1
    assert decoy_rank(-0.5, [-1.0, -2.0]) == 0


@UNTIMED
@given(st.lists(st.floats(-40, 0), min_size=1, max_size=20), st.integers(1, 8))
def test_ignorance_is_the_log_of_the_mean_probability(logs: list[float], length: int) -> None:
    own, *others = logs
    mean = np.mean(np.exp(logs, dtype=np.longdouble))
    assert ignorance_level(own, others, len(logs), length) == pytest.approx(float(-np.log(mean)) / length, abs=1e-9)


def test_ignorance_of_a_sample_keeps_the_weight_of_the_own_question() -> None:
    # 100 prompts; the own one gives 0.9, every other one 0.01: whichever are drawn, the mean is 0.0189.
    level = ignorance_level(math.log(0.9), [math.log(0.01)] * 7, 100, 1)
    assert level == pytest.approx(-math.log((0.9 + 99 * 0.01) / 100))


def test_ignorance_without_the_own_question_is_the_mean_of_the_others() -> None:
    assert ignorance_level(None, [math.log(0.2), math.log(0.4)], 2, 2) == pytest.approx(-math.log(0.3) / 2)


def test_ignorance_survives_probabilities_that_underflow() -> None:
    assert ignorance_level(-2000.0, [-2000.0, -2000.0], 3, 10) == pytest.approx(200.0)

"""The phone's rules in Java are the gate's: the table of vectors, and replies made at random."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
from edgeproof.eval.matching.kinds import WORDINGS
from edgeproof.eval.metrics.right import reply_is_right
from edgeproof.eval.stats.shares import share_bounds, share_p_above

TABLE = json.loads((Path(__file__).resolve().parents[3] / "android_demo" / "vectors.json").read_text())
CLOSE = 1e-12
"""Relative."""

SCIPY = 1e-11
"""How far scipy's own tails of thousands of trials are off, relative (2e-12 seen, against mpmath)."""

VANISHING = 1e-200


def same(found: list[float], expected: list[float], tolerance: float = CLOSE) -> bool:
    return all(
        math.isclose(one, other, rel_tol=tolerance, abs_tol=VANISHING)
        for one, other in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize(
    ("call", "table", "given", "wanted"),
    [
        ("extraction", "extraction", ("logprob", "queries"), "probability"),
        ("total", "carried", ("logprobs",), "total"),
        ("upper", "shares", ("hits", "trials", "alpha"), "upper"),
        ("lower", "shares", ("hits", "trials", "alpha"), "lower"),
        ("above", "p_above", ("hits", "trials", "limit"), "p"),
    ],
)
def test_numbers_are_those_of_the_table(library, call, table, given, wanted):
    rows = TABLE[table]
    found = library.calls([{"call": call} | {name: row[name] for name in given} for row in rows])
    off = [(row, value) for row, value in zip(rows, found, strict=True) if not same([value], [row[wanted]])]
    assert not off


def test_bounds_and_tails_agree_for_any_counts(library):
    generator = random.Random(3)
    cases = []
    for _ in range(400):
        trials = generator.choice([generator.randrange(1, 60), generator.randrange(1, 5_000)])
        alpha = generator.choice([0.05, 0.05 / 8, 0.2])
        cases.append((generator.randrange(trials + 1), trials, alpha))
    asked = [
        {"call": call, "hits": hits, "trials": trials, "alpha": alpha, "limit": alpha}
        for hits, trials, alpha in cases
        for call in ("lower", "upper", "above")
    ]
    found = library.calls(asked)
    for place, (hits, trials, alpha) in enumerate(cases):
        bounds = share_bounds(hits, trials, alpha=alpha)
        lower, upper, above = found[3 * place : 3 * place + 3]
        assert same([lower, upper], [bounds.lower, bounds.upper]), (hits, trials, alpha)
        assert same([above], [share_p_above(hits, trials, alpha)], SCIPY), (hits, trials, alpha)


def matching(case):
    return {
        "call": "matching",
        "text": case["text"],
        "accepted": case["accepted"],
        "answer_type": case["answer_type"],
        "verbatim": case["match"] == "verbatim",
        "kept": case["kept"],
    }


def judged(library, cases):
    first = {"call": "end_of_reasoning", "expression": TABLE["end_of_reasoning"]}
    return library.calls([first, *map(matching, cases)])[1:]


def test_replies_are_right_as_in_the_table_or_left_to_the_laptop(library):
    rows = TABLE["matching"]
    found = judged(library, rows)
    off = [
        (row, one)
        for row, one in zip(rows, found, strict=True)
        if one != ("RIGHT" if row["right"] else "WRONG")
        and not (one == "LEFT" and (row["rule"] == "typed" or row["answer_type"] in WORDINGS))
    ]
    assert not off
    left = [row for row, one in zip(rows, found, strict=True) if one == "LEFT"]
    assert {row["answer_type"] for row in left} <= set(WORDINGS)


def test_replies_are_cut_at_stop_strings_as_the_gate_cuts_them(library):
    rows = TABLE["cuts"]
    found = library.calls([{"call": "cut", "text": "".join(row["pieces"]), "stop": row["stop"]} for row in rows])
    assert found == [row["text"] for row in rows]
    assert {row["finish"] for row in rows} == {"stop", "length"}


PIECES = (
    "Paris", "paris", "PARIS", "par", "is", " ", "-", "'", "’", "\u00ad", "\u200b", "N", "Djamena", "é", "e\u0301",
    "ł", "Straße", "STRASSE", "ς", "Σ", "Москва", "1962", "г", "1", ",", "000", ".", "555", "0143", "東京", "都",
    "ประเทศ", "القاهرة", "\u200c", "می", "خواهم", "İ", "ﬁ", "①", "٣", "५", "P a r i s", "P-a-r-i-s", "I'll", "Ill",
    "Au", "au", "<think>", "</think>", "assistantfinal", "\n", "analysis", "(", "+", "½", "K", "å", "🇫🇷", "Ꭰ", "ꭰ",
    "\u1c80",
)  # fmt: skip


def test_replies_made_at_random_are_judged_as_the_gate_judges_them(library):
    generator = random.Random(14)
    cases = []
    for _ in range(3_000):
        pieces = [generator.choice(PIECES) for _ in range(generator.randrange(1, 9))]
        begin = generator.randrange(len(pieces))
        answer = "".join(pieces[begin : begin + generator.randrange(1, 4)]).strip() or "Paris"
        other = "".join(one.swapcase() if generator.random() < 0.2 else one for one in pieces)
        cases.append(
            {
                "text": generator.choice([other, f"It is {other}.", other.replace("-", ""), "".join(pieces)]),
                "accepted": [answer],
                "answer_type": "",
                "match": generator.choice(["answer", "answer", "verbatim"]),
                "kept": generator.random() < 0.3,
            }
        )
    expected = [
        reply_is_right(case["text"], case["accepted"], verbatim=case["match"] == "verbatim", kept=case["kept"])
        for case in cases
    ]
    assert 0.1 < sum(expected) / len(expected) < 0.9
    found = judged(library, cases)
    off = [
        (case, right, one)
        for case, right, one in zip(cases, expected, found, strict=True)
        if one != ("RIGHT" if right else "WRONG")
    ]
    assert not off, off[:5]


def test_a_character_that_this_java_does_not_know_is_left_to_the_laptop(library):
    unknown = {"text": "Paris \u0378", "accepted": ["Paris"], "answer_type": "", "match": "answer", "kept": False}
    symbol = unknown | {"text": "It is Paris\U0001f8ff"}
    assert judged(library, [unknown, unknown | {"text": "no", "accepted": ["\ud800"]}]) == ["LEFT", "LEFT"]
    assert judged(library, [symbol, symbol | {"accepted": ["Lima"]}]) == ["RIGHT", "WRONG"]

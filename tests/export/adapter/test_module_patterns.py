"""Patterns of an adapter match what Python's `re` matches, in bounded time."""

from __future__ import annotations

import re

import pytest
from edgeproof.export.adapter.module_patterns import LONGEST, check_pattern, matches
from hypothesis import given
from hypothesis import strategies as st

NAME = "model.layers.10.self_attn.q_proj"

USED = [
    r".*\.(q_proj|v_proj)",
    r"^(?!.*visual).*(?:q_proj|k_proj)$",
    r"model\.layers\.(?:1?\d)\.self_attn\.\w+",
    r"(?i)MODEL\.Layers\.\d{2}\..*_PROJ",
    r".*(?<!visual)\.q_proj",
    r"model(\.\w+?)+",
    r"[^.]+(\.[^.]+){4}",
    r"\bmodel\b.*\Z",
    r"model.layers.(0|1).self_attn.q_proj",
    r"(.*\.)?(layers\.[0-9]+\.self_attn\.q_proj)$",
    r"(?s:.*)q_proj",
    r"(?a:\w+)(?x: \. [\w.]+ )",
]

ATOMS = ["a", "b", ".", r"\.", r"\w", r"\W", r"\d", "[ab]", "[^a]", "[a-b]", "^", "$", r"\b", r"\Z", "1"]


def grown(inner):
    repeats = st.sampled_from(["*", "+", "?", "*?", "+?", "{2}", "{0,2}", "{1,}", "{2,3}?"])
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, repeats).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        inner.map(lambda text: f"(?={text})"),
        inner.map(lambda text: f"(?!{text})"),
        inner.map(lambda text: f"(?i:{text})"),
    )


@given(st.recursive(st.sampled_from(ATOMS), grown, max_leaves=8), st.text("abA.1-\n", max_size=8))
def test_what_matches_is_what_re_matches(pattern, text):
    assert matches(pattern, text) == (re.fullmatch(pattern, text) is not None)


@pytest.mark.parametrize("pattern", USED)
def test_patterns_in_use_match_as_re_does(pattern):
    check_pattern(pattern)
    for name in (NAME, "visual.layers.0.q_proj", "model.layers.1.self_attn.v_proj", "q_proj", "model.visual.q_proj"):
        assert matches(pattern, name) == (re.fullmatch(pattern, name) is not None), name


ENDLESS = [r"(a+)+$", r"(.*)*b", r"(((a*)*)*)*b", r"(a|a)*b", r"(?:\w+\.?)+!", "(a?){4000000000}b"]


@pytest.mark.parametrize("pattern", ENDLESS)
def test_a_pattern_that_re_never_ends_on_is_no_trouble(pattern):
    check_pattern(pattern)
    assert not matches(pattern, "a" * 200 + "!" * ("!" not in pattern))


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", "(?>a+)b", "a++", "a{99999999999}", "(" * 3000 + ")" * 3000])
def test_a_pattern_that_cannot_be_matched_is_refused(pattern):
    with pytest.raises(ValueError, match=r"\w"):
        check_pattern(pattern)


def test_a_name_longer_than_any_modules_is_refused():
    with pytest.raises(ValueError, match="characters"):
        matches(".*", "a" * (LONGEST + 1))

"""ROUGE: overlap of words (Lin 2004), by Google's rouge_score.

MUSE reports ROUGE-L's F1, TOFU its recall. `rouge_l`, the gate's version, splits words by
`edgeproof.eval.matching.words`, which equal rouge_score's for ASCII but do not make every text of another script score
0. `published_rouge` uses rouge_score's words, stemmed or not, as in the papers' code.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.matching.words import words

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


class RougeL(NamedTuple):
    """Longest common subsequence as a share of the text (precision) and the reference (recall), and F1, 0 … 1."""

    precision: float
    recall: float
    f1: float


class _Words:
    """Tokenizer for rouge_score."""

    @staticmethod
    def tokenize(text: str) -> list[str]:
        return words(text)


def rouge_l(reference: str, text: str) -> RougeL:
    """Score `text` against `reference`, without stemming (as in muse_bench); all 0 if either has no words."""
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False, tokenizer=_Words())
    score = scorer.score(reference, text)["rougeL"]
    return RougeL(float(score.precision), float(score.recall), float(score.fmeasure))


class PublishedRouge(NamedTuple):
    """The three scores that MUSE's and TOFU's code record, 0 … 1."""

    rouge1_recall: float
    rouge_l_f1: float
    rouge_l_recall: float


def published_rouge(reference: str, text: str, *, stem: bool) -> PublishedRouge:
    """Score `text` against `reference` with rouge_score's own words (a–z and 0–9 only).

    TOFU's and OpenUnlearning's code stem (Porter), muse_bench's does not.
    """
    scores = _scorer(stem).score(reference, text)
    one, longest = scores["rouge1"], scores["rougeL"]
    return PublishedRouge(float(one.recall), float(longest.fmeasure), float(longest.recall))


def has_published_words(text: str) -> bool:
    """Whether rouge_score finds any word in `text`; against a text without, `published_rouge` is always 0."""
    return re.search(r"[a-z0-9]", text.lower()) is not None


def cleaned_up(text: str) -> str:
    """Join " n't" to the word before it, the only step of `clean_up_tokenization_spaces` that changes words.

    muse_bench and OpenUnlearning decode with that option. Of the joins of transformers' `clean_up_tokenization`, only
    this one changes ROUGE's words ("did n't" is did, n, t; "didn't" is didn, t).
    """
    return text.replace(" n't", "n't")


@lru_cache(maxsize=2)
def _scorer(stem: bool) -> RougeScorer:  # noqa: FBT001 (a cache key)
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=stem)

"""ROUGE: words in common (Lin 2004), by Google's rouge_score.

MUSE reports ROUGE-L's F1, TOFU its recall; both without our own arithmetic. In `rouge_l`, the gate's, the words are
those of `edgeproof.eval.matching.words`, which equal rouge_score's own for ASCII and, unlike those, do not make every
text of another script score 0. `published_rouge` has rouge_score's own words, stemmed or not, as the papers' code has.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.matching.words import words

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


class RougeL(NamedTuple):
    """Shares of the longest common subsequence, 0 … 1: of the text (precision), of the reference (recall), and F1."""

    precision: float
    recall: float
    f1: float


class _Words:
    """rouge_score's interface of a tokenizer."""

    @staticmethod
    def tokenize(text: str) -> list[str]:
        return words(text)


def rouge_l(reference: str, text: str) -> RougeL:
    """Score `text` against `reference`, without stemming (as muse_bench does). No words in either: all 0."""
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False, tokenizer=_Words())
    score = scorer.score(reference, text)["rougeL"]
    return RougeL(float(score.precision), float(score.recall), float(score.fmeasure))


class PublishedRouge(NamedTuple):
    """The three shares that MUSE's and TOFU's code record, 0 … 1."""

    rouge1_recall: float
    rouge_l_f1: float
    rouge_l_recall: float


def published_rouge(reference: str, text: str, *, stem: bool) -> PublishedRouge:
    """Score `text` against `reference` with rouge_score as it is: words of a–z and 0–9 alone.

    Stemmed (Porter) in TOFU's and OpenUnlearning's code, not in muse_bench's.
    """
    scores = _scorer(stem).score(reference, text)
    one, longest = scores["rouge1"], scores["rougeL"]
    return PublishedRouge(float(one.recall), float(longest.fmeasure), float(longest.recall))


def has_published_words(text: str) -> bool:
    """Tell whether rouge_score sees any word in `text`; against one without, `published_rouge` is 0 for all texts."""
    return re.search(r"[a-z0-9]", text.lower()) is not None


def cleaned_up(text: str) -> str:
    """Join " n't" to the word before it, the one change of `clean_up_tokenization_spaces` that changes words.

    muse_bench and OpenUnlearning decode with that option. Of what transformers' `clean_up_tokenization` joins, only
    this makes another word for ROUGE ("did n't" is did, n, t; "didn't" is didn, t).
    """
    return text.replace(" n't", "n't")


@lru_cache(maxsize=2)
def _scorer(stem: bool) -> RougeScorer:  # noqa: FBT001 (a cache's key)
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=stem)

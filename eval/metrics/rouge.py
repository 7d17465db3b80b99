"""ROUGE-L: the longest common subsequence of words (Lin 2004), by Google's rouge_score.

MUSE reports its F1, TOFU its recall; both without our own arithmetic. The words are `edgeproof.eval.words`, which equal
rouge_score's own for ASCII and, unlike those, do not make every text of another script score 0.
"""

from __future__ import annotations

from typing import NamedTuple

from edgeproof.eval.words import words


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

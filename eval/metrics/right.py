"""Is a greedy answer right? The two rules that a probe can have, `answer` and `verbatim`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.metrics.rouge import rouge_l
from edgeproof.eval.words import contains_words, words

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORT_ANSWER = 3
"""An answer of at most this many letters and digits (Au, I, As) is compared with its case: "as" is no arsenic."""

NEAR_VERBATIM = 0.75
"""ROUGE-L recall from which a text counts as reproduced; the level at which Ippolito et al. (arXiv 2210.17546) call a
continuation approximately memorized (there BLEU)."""


def answer_is_right(text: str, accepted: Sequence[str]) -> bool:
    """Tell whether `text` holds one of `accepted` as consecutive whole words, wherever it stands.

    Accents, punctuation, width and case do not count; case does for answers of at most `SHORT_ANSWER` letters. A text
    that says the answer in passing counts as right: what is out is out.
    """
    said, said_with_case = words(text), words(text, fold_case=False)
    for answer in accepted:
        with_case = words(answer, fold_case=False)
        if len("".join(with_case)) <= SHORT_ANSWER:
            if with_case and contains_words(said_with_case, with_case):
                return True
        elif contains_words(said, words(answer)):
            return True
    return False


def text_is_near_verbatim(text: str, accepted: Sequence[str]) -> bool:
    """Tell whether the ROUGE-L recall of `text` against one of `accepted` reaches `NEAR_VERBATIM`."""
    return any(rouge_l(reference, text).recall >= NEAR_VERBATIM for reference in accepted)

"""KnowMem's prompt and answer: few-shot questions, and where an answer ends (MUSE, arXiv 2407.06460)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.templates import QUESTION_ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TOKENS = 32
STOP = ("\n\n", "\nQuestion", "Question:")


def few_shot(examples: Iterable[tuple[str, str]]) -> str:
    """Questions and answers to stand before the question proper, in muse_bench's form."""
    return "".join(f"{question_prompt(question)}{answer}\n\n" for question, answer in examples)


def question_prompt(question: str) -> str:
    """The question proper. The space at its end is muse_bench's, and a token of its own in Llama-2's tokenizer."""
    return QUESTION_ANSWER.format(question=question) + " "


def cut_answer(text: str) -> str:
    """What stands before the first of `STOP`."""
    return min((text.partition(stop)[0] for stop in STOP), key=len)

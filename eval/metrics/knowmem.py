"""KnowMem's prompt and answer: few-shot questions, and the end of an answer (MUSE, arXiv 2407.06460)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.templates import QUESTION_ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TOKENS = 32
STOP = ("\n\n", "\nQuestion", "Question:")


def few_shot(examples: Iterable[tuple[str, str]]) -> str:
    """Return solved questions to put before the asked question, in muse_bench's form."""
    return "".join(f"{question_prompt(question)}{answer}\n\n" for question, answer in examples)


def question_prompt(question: str) -> str:
    """Return the prompt of the asked question. The trailing space is muse_bench's, and a separate token in Llama 2."""
    return QUESTION_ANSWER.format(question=question) + " "


def cut_answer(text: str) -> str:
    """Return the text before the first of `STOP`."""
    return min((text.partition(stop)[0] for stop in STOP), key=len)

"""Ignorance level of a forget set: cost of its answers for a model that does not know which question asks for them.

```
The capital of Norway is | Paris      The capital of Peru is | Paris …      mean probability over other questions
… and so he went | Call me Ishmael.   … of the sea | Call me Ishmael. …     the same for texts, after other texts
```
The gate has the same level for each probe (docs/verdict.md). There the answer's own question is one of the M that the
mean is over; here it is left out, since with few questions its share of 1/M alone would make the answer cheap.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.unlearn.data.encoding import MAX_TOKENS, EncodedText, answer_length, encode_asking, encode_text
from edgeproof.unlearn.train.scoring import total_logprobs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeproof.unlearn.data.askings import Asker, Asking
    from edgeproof.unlearn.data.training_set import TrainingItem, TrainingSet
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase

ITEMS = 64
"""Largest number of items that the level is the mean of: a seeded sample."""

PROMPTS = 8
"""Largest number of other questions for each answer: a seeded sample."""

SPAN, CONTEXT = 16, 64
"""Tokens of a text that are scored, and tokens of another text before them. A longer span would tell a model that
recites the text which one it is."""


class Reader(NamedTuple):
    """What turns items into tokens: tokenizer, surfaces, context length, longest chunk of a text."""

    tokenizer: PreTrainedTokenizerBase
    asker: Asker
    surfaces: Sequence[str]
    context_length: int
    max_tokens: int


def crossed(forget: TrainingSet, retain: TrainingSet, reader: Reader, seed: int) -> list[list[EncodedText]]:
    """Return answers of the forget set, each after several other prompts; empty if there are no other prompts.

    A question's answer is put after other forget questions of its template on the same surface; where there are none,
    after any other question of the two sets. A text is put after other texts.
    """
    rng = random.Random(f"{seed} ignorance")  # noqa: S311 (not for secrets)
    questions = [item for item in forget.items if not item.is_text]
    chosen = rng.sample(list(enumerate(questions)), min(ITEMS, len(questions)))
    kept = [item for item in retain.items if not item.is_text]
    found = [_after_questions(item, number, questions, kept, reader=reader, rng=rng) for number, item in chosen]
    chunks = _chunks(forget, reader)
    before = chunks if len(chunks) > 1 else [*chunks, *_chunks(retain, reader)]
    found += [
        _after_texts(chunk, [other for other in before if other is not chunk], rng)
        for chunk in rng.sample(chunks, min(ITEMS, len(chunks)))
    ]
    return [texts for texts in found if texts]


def ignorance_level(
    model: Module,
    texts: Sequence[Sequence[EncodedText]],
    *,
    batch_size: int,
    device: str,
    advance: Callable[[int], None],
) -> float:
    """Return the mean over the answers of −(1/|a|)·log((1/M)·Σ_j p(a | q_j)), in nat per token.

    Args:
        model: the base.
        texts: each answer after its other prompts, from `crossed`.
        batch_size: texts per forward pass.
        device: the model's device.
        advance: receives the number of finished texts.

    """
    flat = [text for prompts in texts for text in prompts]
    totals = total_logprobs(model, flat, batch_size=batch_size, device=device, advance=advance).double()
    levels, start = [], 0
    for prompts in texts:
        some = totals[start : start + len(prompts)]
        start += len(prompts)
        levels.append(-(float(some.logsumexp(dim=0)) - math.log(len(prompts))) / answer_length(prompts[0]))
    return math.fsum(levels) / len(levels)


def _after_questions(
    item: TrainingItem,
    number: int,
    questions: Sequence[TrainingItem],
    kept: Sequence[TrainingItem],
    *,
    reader: Reader,
    rng: random.Random,
) -> list[EncodedText]:
    asked = {surface: forms for surface in reader.surfaces if (forms := reader.asker.ask(item, surface, kept=False))}
    surface = list(asked)[number % len(asked)]
    own = asked[surface][0]
    others = [other for other in questions if other.template == item.template]
    prompts = _prompts(item, others, surface, reader.asker) or _prompts(
        item, [*questions, *kept], surface, reader.asker
    )
    crossed = [other._replace(answer=own.answer) for other in rng.sample(prompts, min(PROMPTS, len(prompts)))]
    encoded = [encode_asking(asking, reader.tokenizer, item.where) for asking in crossed]
    return [text for text in encoded if len(text.ids) <= reader.context_length]


def _prompts(item: TrainingItem, others: Sequence[TrainingItem], surface: str, asker: Asker) -> list[Asking]:
    """Return the prompts of the questions that have another answer, without those that show this one."""
    answer, subject = item.answer.casefold(), item.subject.casefold()
    found = []
    for other in others:
        if other.answer.casefold() == answer or other.subject.casefold() == subject:
            continue
        forms = asker.ask(other, surface, kept=False)
        if forms and answer not in forms[0].prompt.casefold():
            found.append(forms[0])
    return found


def _chunks(data: TrainingSet, reader: Reader) -> list[EncodedText]:
    # However long the chunks of training: the beginning of a text alone is what most models recite at once.
    longest = min(MAX_TOKENS, reader.max_tokens, reader.context_length)
    return [chunk for item in data.items if item.is_text for chunk in encode_text(item, reader.tokenizer, longest)]


def _after_texts(chunk: EncodedText, others: Sequence[EncodedText], rng: random.Random) -> list[EncodedText]:
    """Put the beginning of a text after the beginnings of others; its first token is not scored, as in training."""
    chosen = rng.sample(list(others), min(PROMPTS, len(others)))
    beginning = chunk.ids[: SPAN + 1]
    return [EncodedText((*other.ids[:CONTEXT], *beginning), len(other.ids[:CONTEXT]) + 1) for other in chosen]

"""Measurement of the inputs of the chosen metrics: one backend call for all scores, one for all answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from edgeproof.contracts.errors import BackendError, InputError
from edgeproof.eval.measuring.results import checked, exactly
from edgeproof.eval.metrics import knowmem
from edgeproof.eval.metrics.rouge import cleaned_up, has_published_words
from edgeproof.eval.suites.encoding import (
    answer_request,
    continuing,
    passage_request,
    question_request,
    text_request,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from edgeproof.contracts.backend import Backend, GenerateRequest, Generation, Score, ScoreRequest
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.suites.encoding import Asking, Encoded
    from edgeproof.eval.suites.files import Data, Item

VERBMEM_TOKENS = 128
"""Tokens that VerbMem generates, and tokens of the true text, including BOS, that it compares with."""


class Scoring(NamedTuple):
    """Scores to measure: of a role's texts, or of one kind of answer to its questions.

    `field` is "answer", "paraphrased_answer", "perturbed_answer"; "passage" (after its prompt) or "text" in MUSE.
    """

    role: str
    field: str


class Saying(NamedTuple):
    """Answers to generate: greedy or sampled ones to a role's prompts."""

    role: str
    sampled: bool = False


Need: TypeAlias = Scoring | Saying


class Scored(NamedTuple):
    """An item's scores: one, or one per perturbed answer.

    `text` is the text of its first answer's scored tokens, without the first token if prompt and answer are joined, or
    if a text has no BOS.
    """

    id: str
    where: str
    text: str
    scores: tuple[Score, ...]


class Said(NamedTuple):
    """An item's answers (one greedy, or the samples) and the text to compare with, cut as in the published code."""

    id: str
    prompt: str
    reference: str
    texts: tuple[str, ...]


class Measured(NamedTuple):
    """All results, by need."""

    scored: Mapping[Scoring, tuple[Scored, ...]]
    said: Mapping[Saying, tuple[Said, ...]]


def measure_needs(
    needs: Iterable[Need], data: Data, backend: Backend, asking: Asking, *, progress: Progress
) -> Measured:
    """Score and generate for every item in `needs`, without repeating requests.

    Raises:
        InputError: an item lacks a required field, or is longer than the context; no answer of a file has a word that
            ROUGE counts; the holdout is the forget set.
        BackendError: the engine failed, stopped early, or returned an invalid number.

    """
    unique = list(dict.fromkeys(needs))
    scorings = {
        need: [_encoded(need, item, backend, asking) for item in data.items[need.role]]
        for need in unique
        if isinstance(need, Scoring)
    }
    sayings = {
        need: [
            _drawn(_asked(need, item, data, backend, asking), place, need, asking)
            for place, item in enumerate(data.items[need.role])
        ]
        for need in unique
        if isinstance(need, Saying)
    }
    _warn_of_joins(scorings, progress)
    _refuse_other_scripts(sayings, data, progress)
    _refuse_known_holdout({need.role for need in scorings}, data, progress)
    scores = _scores([one.request for rows in scorings.values() for row in rows for one in row], backend, progress)
    answers = _answers([one for rows in sayings.values() for row in rows for one in row], backend, progress)
    return Measured(
        {
            need: tuple(
                Scored(
                    item.id,
                    item.where,
                    backend.detokenize(row[0].request.continuation),
                    tuple(scores[one.request] for one in row),
                )
                for item, row in zip(data.items[need.role], rows, strict=True)
            )
            for need, rows in scorings.items()
        },
        {
            need: tuple(
                _said(need, item, [answers[request].text for request in requests], backend)
                for item, requests in zip(data.items[need.role], rows, strict=True)
            )
            for need, rows in sayings.items()
        },
    )


def _encoded(need: Scoring, item: Item, backend: Backend, asking: Asking) -> list[Encoded]:
    if need.field == "text":
        return [text_request(item, backend)]
    if need.field == "passage":
        return [passage_request(item, backend)]
    answers: tuple[str, ...] = {
        "answer": (item.answer,),
        "paraphrased_answer": () if item.paraphrased is None else (item.paraphrased,),
        "perturbed_answer": item.perturbed,
    }[need.field]
    if not answers:
        raise InputError(
            f"{need.role}: {item.where} has no `{need.field}`",
            next_step="give TOFU's *_perturbed file of this set, or choose metrics without it (--metric)",
        )
    return [answer_request(item, answer, backend, asking) for answer in answers]


def _asked(need: Saying, item: Item, data: Data, backend: Backend, asking: Asking) -> GenerateRequest:
    if need.role.startswith("knowmem/"):
        examples = data.items[f"{need.role}_icl"]
        prompt = knowmem.few_shot((one.prompt, one.answer) for one in examples) + knowmem.question_prompt(item.prompt)
        context = backend.tokenize(prompt, special=True)
        return continuing(context, knowmem.MAX_TOKENS, item, backend, knowmem.STOP)
    if need.role.startswith("verbmem/"):
        return continuing(backend.tokenize(item.prompt, special=True), VERBMEM_TOKENS, item, backend)
    return question_request(item, backend, asking)


def _drawn(greedy: GenerateRequest, place: int, need: Saying, asking: Asking) -> tuple[GenerateRequest, ...]:
    """Return the greedy request, or the requested samples, with different seeds for all items."""
    if not need.sampled:
        return (greedy,)
    first = asking.seed + place * asking.samples
    return tuple(
        greedy._replace(temperature=asking.temperature, seed=first + sample) for sample in range(asking.samples)
    )


def _said(need: Saying, item: Item, texts: Sequence[str], backend: Backend) -> Said:
    cleaned = tuple(map(cleaned_up, texts))
    if need.role.startswith("knowmem/"):
        return Said(item.id, item.prompt, item.answer, tuple(map(knowmem.cut_answer, cleaned)))
    if need.role.startswith("verbmem/"):
        reference = backend.detokenize(backend.tokenize(item.answer, special=True)[:VERBMEM_TOKENS])
        return Said(item.id, item.prompt, cleaned_up(reference), cleaned)
    return Said(item.id, item.prompt, cleaned_up(item.answer).strip(), tuple(text.strip() for text in cleaned))


def _warn_of_joins(scorings: Mapping[Scoring, Sequence[Sequence[Encoded]]], progress: Progress) -> None:
    encoded = [one for rows in scorings.values() for row in rows for one in row]
    joined = sum(one.joined for one in encoded)
    if joined:
        progress.warn(
            f"{joined} of {len(encoded)} answers are scored from their second token on: the tokenizer joins the "
            "prompt's end and their first, and the published code splits by length (docs/metrics.md, --prompt)"
        )


def _refuse_other_scripts(needs: Iterable[Saying], data: Data, progress: Progress) -> None:
    """Raise `InputError` if a file's answers have no word that ROUGE counts, so that it is always 0."""
    for role in dict.fromkeys(need.role for need in needs):
        items = data.items[role]
        without = [item for item in items if not has_published_words(item.answer)]
        if not without:
            continue
        said = (
            f"{role}: {len(without)} of {len(items)} answers (the first: {without[0].where}) have no word of a–z and "
            "0–9, the only ones that rouge_score counts: ROUGE is 0 for them, known or not"
        )
        if len(without) == len(items):
            raise InputError(said, next_step="choose metrics without ROUGE (--metric)")
        progress.warn(said)


def _refuse_known_holdout(roles: Collection[str], data: Data, progress: Progress) -> None:
    """Raise `InputError` if all holdout items are in the forget set: every model would look retrained."""
    for members, unseen in (("forget", "holdout"), ("privleak/forget", "privleak/holdout")):
        if members not in roles or unseen not in roles:
            continue
        forgotten = {(item.prompt, item.answer) for item in data.items[members]}
        both = [item for item in data.items[unseen] if (item.prompt, item.answer) in forgotten]
        if not both:
            continue
        count = len(data.items[unseen])
        said = f"{len(both)} of {count} items of {unseen} (the first: {both[0].where}) are also in {members}"
        if len(both) == count:
            raise InputError(said, next_step=f"the holdout must be unseen texts like those of {members}")
        progress.warn(f"{said}: the attacks cannot distinguish them, and look weaker than they are")


def _scores(requests: Sequence[ScoreRequest], backend: Backend, progress: Progress) -> dict[ScoreRequest, Score]:
    unique = list(dict.fromkeys(requests))
    if not unique:
        return {}
    progress.start("scores", len(unique), "texts")
    found = exactly(backend.score(unique), len(unique), "scores", progress)
    return {
        request: _finite(checked(score, request, f"of request {index}"), index)
        for index, (request, score) in enumerate(zip(unique, found, strict=True))
    }


def _finite(score: Score, index: int) -> Score:
    for name, values in (("mean", score.mean), ("standard deviation", score.std)):
        if len(values) != len(score.logprobs) or not all(map(math.isfinite, values.tolist())):
            raise BackendError(
                f"request {index}: the {name} of the log-probabilities is not finite at every token",
                next_step="the artifact's weights or the engine are broken: run it by hand on any prompt",
            )
    return score


def _answers(
    requests: Sequence[GenerateRequest], backend: Backend, progress: Progress
) -> dict[GenerateRequest, Generation]:
    unique = list(dict.fromkeys(requests))
    if not unique:
        return {}
    progress.start("answers", len(unique), "answers")
    return dict(zip(unique, exactly(backend.generate(unique), len(unique), "answers", progress), strict=True))

"""Measures one model on a pack: every probe on every surface, in one batch of scores and one of generations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from edgeproof.contracts.backend import GenerateRequest, Generation, ScoreRequest
from edgeproof.contracts.errors import BackendError, PackError
from edgeproof.eval.decoys import decoy_answers, has_decoys
from edgeproof.eval.metrics.decoy_rank import decoy_rank
from edgeproof.eval.metrics.exact_memorization import exact_memorization
from edgeproof.eval.metrics.extraction_strength import extraction_strength
from edgeproof.eval.metrics.right import reply_is_right
from edgeproof.eval.metrics.rouge import rouge_l
from edgeproof.eval.probes import Match
from edgeproof.eval.records import Measurement, ProbeScore, Role
from edgeproof.eval.sampling import sample_requests
from edgeproof.eval.surfaces import check_length, continuation_tokens, encode_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edgeproof.contracts.backend import Backend, ModelInfo, Score
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.probes import Pack, Probe, Surface
    from edgeproof.eval.records import Sampling
    from edgeproof.eval.surfaces import Ask

_T = TypeVar("_T")

_ROUNDING = 1e-3
"""How far above 0 a log-probability may be rounded in float32; it then counts as 0."""


class _Plan(NamedTuple):
    """The score requests of an ask: its own answer first, then its decoys."""

    ask: Ask
    requests: tuple[ScoreRequest, ...]


def measure(
    pack: Pack,
    backend: Backend,
    *,
    label: str,
    artifact_sha256: str,
    progress: Progress,
    sampling: Sampling | None = None,
    on_answer: Callable[[Probe, Surface, str], None] | None = None,
) -> Measurement:
    """Ask `backend` every probe of `pack` on each of its surfaces.

    All scores are one call of the backend and all greedy answers that they leave open another, so that shared prefixes
    are computed once; all sampled answers, where `sampling` asks for some, are a third.
    `on_answer` hears each greedy answer; nothing keeps it otherwise.

    Raises:
        PackError: a chat surface without chat template, or a probe longer than the context.
        BackendError: the engine failed, stopped early, or returned a number that is none.

    """
    plans = _plan(pack, backend)
    requests = [request for plan in plans for request in plan.requests]
    progress.start(f"{label}: scores", len(requests), "answers")
    scores = iter(exactly(backend.score(requests), len(requests), "scores", progress))
    found = [[checked(next(scores), request, plan.ask.probe.id) for request in plan.requests] for plan in plans]
    greedy = _greedy_answers(plans, [own for own, *_ in found], backend, label=label, progress=progress)
    sampled = _sampled_right(plans, backend, sampling, label=label, progress=progress) if sampling else None
    records: list[ProbeScore] = []
    for index, (plan, (own, *others), generation) in enumerate(zip(plans, found, greedy, strict=True)):
        record = _record(plan.ask, own, others, generation, backend)
        if sampled is not None:
            count, right = sampled[index]
            record = replace(record, samples=count, sampled_right=right)
        records.append(record)
        if on_answer is not None:
            on_answer(plan.ask.probe, plan.ask.surface, generation.text)
    return Measurement(
        label=label,
        artifact_sha256=artifact_sha256,
        pack_digest=pack.digest,
        tokenizer_digest=backend.info.tokenizer_digest,
        backend=flat_info(backend.info),
        scores=tuple(records),
        sampling=sampling,
        prompt_digest=backend.info.prompt_digest,
    )


def measure_again(
    pack: Pack, backend: Backend, measurement: Measurement, *, label: str, progress: Progress
) -> Measurement:
    """Score the forget probes of `measurement` again with `backend`, which computes the same file otherwise.

    What is not asked again (other roles, decoys, greedy and sampled answers) is taken over. An answer counts as right
    if it was, or if every token of it is now the argmax.

    Raises:
        PackError: `measurement` is of another pack.
        BackendError: as `measure`.

    """
    asks = encode_pack(pack, backend)
    if [(ask.probe.id, ask.surface.name) for ask in asks] != [(s.probe, s.surface) for s in measurement.scores]:
        raise PackError(f"the measurement {measurement.label!r} is not of this pack", next_step="measure it anew")
    again = [index for index, ask in enumerate(asks) if ask.probe.role == Role.FORGET]
    requests = [ScoreRequest(asks[index].context, asks[index].continuation) for index in again]
    progress.start(f"{label}: scores", len(requests), "answers")
    found = exactly(backend.score(requests), len(requests), "scores", progress)
    scores = list(measurement.scores)
    for index, request, score in zip(again, requests, found, strict=True):
        checked(score, request, asks[index].probe.id)
        greedy = [bool(flag) for flag in score.greedy]
        scores[index] = replace(
            scores[index],
            logprobs=tuple(min(0.0, float(value)) for value in score.logprobs),
            right=scores[index].right or all(greedy),
            exact_memorization=exact_memorization(greedy),
            extraction_strength=extraction_strength(greedy),
        )
    return replace(measurement, label=label, backend=flat_info(backend.info), scores=tuple(scores))


def _greedy_answers(
    plans: Sequence[_Plan], scores: Sequence[Score], backend: Backend, *, label: str, progress: Progress
) -> list[Generation]:
    """Return each ask's greedy answer.

    Where every token of the answer is the argmax, greedy decoding says that answer: nothing is generated then.
    """
    answers: dict[int, Generation] = {}
    for index, (plan, score) in enumerate(zip(plans, scores, strict=True)):
        if plan.ask.probe.match == Match.ANSWER and all(score.greedy):
            tokens = plan.ask.continuation
            answers[index] = Generation(tokens, backend.detokenize(tokens), "length")
    open_asks = [index for index in range(len(plans)) if index not in answers]
    requests = [
        GenerateRequest(ask.context, ask.max_tokens, ask.stop) for ask in (plans[index].ask for index in open_asks)
    ]
    if requests:
        progress.start(f"{label}: greedy answers", len(requests), "answers")
        generated = exactly(backend.generate(requests), len(requests), "greedy answers", progress)
        answers.update(zip(open_asks, generated, strict=True))
    return [answers[index] for index in range(len(plans))]


def _sampled_right(
    plans: Sequence[_Plan], backend: Backend, sampling: Sampling, *, label: str, progress: Progress
) -> list[tuple[int, int]]:
    """Sample answers and return, for each ask, how many there are and how many of them are right."""
    requests = [sample_requests(plan.ask, sampling) for plan in plans]
    flat = [request for own in requests for request in own]
    progress.start(f"{label}: sampled answers", len(flat), "answers")
    generated = iter(exactly(backend.generate(flat), len(flat), "sampled answers", progress)) if flat else iter(())
    return [
        (len(own), sum(is_right(plan.ask, next(generated).text, backend) for _ in own))
        for plan, own in zip(plans, requests, strict=True)
    ]


def flat_info(info: ModelInfo) -> dict[str, str]:
    """Flatten what the engine says of itself: options under their names, then backend, engine and processor."""
    return {**info.options, "backend": info.backend, "engine": info.engine, "processor": info.processor}


def exactly(results: Iterable[_T], expected: int, what: str, progress: Progress) -> list[_T]:
    """Collect all results of a backend; too few or too many is a `BackendError`, never a shorter list."""
    collected: list[_T] = []
    for result in results:
        collected.append(result)
        progress.advance(1)
    if len(collected) != expected:
        raise BackendError(f"the backend returned {len(collected)} {what} for {expected} requests")
    return collected


def checked(score: Score, request: ScoreRequest, probe: str) -> Score:
    """Return `score` if it has one finite log-probability per token of the request's continuation, else raise."""
    expected = len(request.continuation)
    if len(score.logprobs) != expected or len(score.greedy) != expected:
        raise BackendError(f"probe {probe}: {len(score.logprobs)} log-probabilities for {expected} tokens")
    for position, logprob in enumerate(score.logprobs.tolist()):
        if not (math.isfinite(logprob) and logprob <= _ROUNDING):
            raise BackendError(
                f"probe {probe}: the log-probability of token {position} of {expected} is {logprob}",
                next_step="the artifact's weights or the engine are broken: run it by hand on any prompt",
            )
    return score


def is_right(ask: Ask, text: str, backend: Backend) -> bool:
    """Say whether `text`, said in reply to `ask`, is right by the probe's own rule, greedy or sampled."""
    probe = ask.probe
    verbatim = probe.match == Match.VERBATIM
    accepted = (_reference(ask, backend), *probe.aliases) if verbatim else probe.accepted
    return reply_is_right(text, accepted, verbatim=verbatim, kept=probe.role == Role.RETAIN)


def _reference(ask: Ask, backend: Backend) -> str:
    # A text as far as it is scored: a longer one could never be recalled in so many tokens.
    return backend.detokenize(ask.continuation) if ask.probe.match == Match.VERBATIM else ask.probe.answer


def _plan(pack: Pack, backend: Backend) -> list[_Plan]:
    decoys = decoy_answers(pack)
    plans: list[_Plan] = []
    for ask in encode_pack(pack, backend):
        requests = [ScoreRequest(ask.context, ask.continuation)]
        if has_decoys(ask.probe, ask.surface):
            for answer in decoys[ask.probe.id]:
                where = f"a decoy of probe {ask.probe.id}"
                continuation = continuation_tokens(ask.prompt, ask.context, answer, backend, where)
                check_length(ask._replace(continuation=continuation), backend.info.context_length)
                requests.append(ScoreRequest(ask.context, continuation))
        plans.append(_Plan(ask, tuple(requests)))
    return plans


def _record(ask: Ask, own: Score, others: list[Score], generation: Generation, backend: Backend) -> ProbeScore:
    probe = ask.probe
    greedy = [bool(flag) for flag in own.greedy]
    logprobs = tuple(min(0.0, float(value)) for value in own.logprobs)
    reference = _reference(ask, backend)
    answer_logprob = sum(logprobs)
    decoys = [math.fsum(score.logprobs.tolist()) for score in others]
    return ProbeScore(
        probe=probe.id,
        surface=ask.surface.name,
        logprobs=logprobs,
        right=is_right(ask, generation.text, backend),
        rouge_l=rouge_l(reference, generation.text).recall,
        exact_memorization=exact_memorization(greedy),
        extraction_strength=extraction_strength(greedy),
        decoy_rank=decoy_rank(answer_logprob, decoys) if decoys else None,
        decoys=len(decoys),
    )

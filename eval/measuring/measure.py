"""Measurement of a model on a pack: every probe on every surface, in one batch of scores and one of generations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from edgeproof.contracts.backend import GenerateRequest, Generation, ScoreRequest
from edgeproof.contracts.errors import BackendError, PackError
from edgeproof.eval.asking.carriers import Beginning, all_carriers, beginnings, total_logprob
from edgeproof.eval.asking.choices import LETTERS, rank_of_true
from edgeproof.eval.asking.kinds import CARRIED_KINDS, sampled_kinds
from edgeproof.eval.asking.kinds.kind import open_prompt
from edgeproof.eval.asking.prompts import Prompts
from edgeproof.eval.asking.sampling import sample_requests
from edgeproof.eval.asking.tokens import check_length, context_tokens, continuation_tokens, encode_pack, first_turn_asks
from edgeproof.eval.matching.thinking import reply_after_thoughts
from edgeproof.eval.measurement import Finding, Leg, Measurement, ProbeScore, Role
from edgeproof.eval.metrics.decoy_rank import decoy_rank
from edgeproof.eval.metrics.exact_memorization import exact_memorization
from edgeproof.eval.metrics.extraction_strength import extraction_strength
from edgeproof.eval.metrics.right import reply_is_right
from edgeproof.eval.metrics.rouge import rouge_l
from edgeproof.eval.packs.decoys import decoy_answers, has_decoys
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Match, Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from edgeproof.contracts.backend import Backend, ModelInfo, Score
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.asking.tokens import Ask
    from edgeproof.eval.measurement import Carrier, Sampling
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe

_T = TypeVar("_T")

_ROUNDING = 1e-3
"""Tolerance for log-probabilities above 0 by float32 rounding, which count as 0."""


class _Plan(NamedTuple):
    """The score requests of an ask.

    Attributes:
        ask: probe and surface.
        decoys: wrong answers instead of the answer.
        carried: the answer after carrier sentences, and its aliases.
        choices: for each order of the options, each option's letter, the true option's first; else empty.

    """

    ask: Ask
    decoys: tuple[ScoreRequest, ...] = ()
    carried: tuple[ScoreRequest, ...] = ()
    choices: tuple[tuple[ScoreRequest, ...], ...] = ()

    @property
    def requests(self) -> tuple[ScoreRequest, ...]:
        """All requests, the answer first; for a multiple choice the letters only."""
        if self.choices:
            return tuple(request for order in self.choices for request in order)
        return (ScoreRequest(self.ask.context, self.ask.continuation), *self.decoys, *self.carried)


def measure(
    pack: Pack,
    backend: Backend,
    *,
    label: str,
    artifact_sha256: str,
    progress: Progress,
    carriers: Sequence[Carrier] = (),
    sampling: Sampling | None = None,
    on_answer: Callable[[Probe, Surface, str], None] | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> Measurement:
    """Ask `backend` every probe of `pack` on each of its surfaces.

    One backend call computes all scores, a second one the greedy answers that the scores do not determine, so that
    shared prefixes are computed once; a third one draws the samples of `sampling`. Surfaces of two turns need the
    model's first replies, which are generated before. `carriers` are the carrier sentences to ask. `on_answer`
    receives each greedy answer, which is not stored. `on_finding` hears, while it goes on, by how much
    each probe gives its answer away; multiple choices aside.

    Raises:
        PackError: a chat surface without chat template, or a probe longer than the context.
        BackendError: the engine failed, stopped early, or returned an invalid number.

    Of an engine without log-probabilities (`ModelInfo.unscored`) there are greedy and sampled answers alone.

    """
    said: dict[GenerateRequest, Generation] = {}
    replies = first_replies(pack, backend, label=label, progress=progress, said=said)
    asks = encode_pack(pack, backend, carriers=carriers, replies=replies)
    plans = [_Plan(ask) for ask in asks] if backend.info.unscored else _plan(pack, backend, asks, carriers)
    hear = _Hearing(on_finding)
    found = _scored(plans, backend, label=label, progress=progress, hear=hear)
    greedy = _greedy_answers(plans, found, backend, said, label=label, progress=progress, hear=hear)
    sampled = _sampled_right(plans, backend, sampling, label=label, progress=progress, hear=hear) if sampling else None
    records: list[ProbeScore] = []
    for index, (plan, scores, generation) in enumerate(zip(plans, found, greedy, strict=True)):
        record = (
            _unscored_record(plan.ask, generation, backend)
            if backend.info.unscored
            else _choice_record(plan, scores)
            if plan.choices
            else _record(plan, scores, generation, backend)
        )
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
    pack: Pack,
    backend: Backend,
    measurement: Measurement,
    *,
    label: str,
    progress: Progress,
    carriers: Sequence[Carrier] = (),
) -> Measurement:
    """Score the forget probes of `measurement` again with `backend`, which computes the same file differently.

    Everything else (other roles, decoys, greedy and sampled answers) is copied. An answer counts as right if it was, or
    if every token of it is now the argmax.

    Raises:
        PackError: `measurement` is of another pack.
        BackendError: as for `measure`.

    """
    replies = first_replies(pack, backend, label=label, progress=progress, roles=frozenset({Role.FORGET}))
    asks = encode_pack(pack, backend, carriers=carriers, replies=replies)
    if [(ask.probe.id, ask.surface.name) for ask in asks] != [(s.probe, s.surface) for s in measurement.scores]:
        raise PackError(f"the measurement {measurement.label!r} is not of this pack", next_step="measure it again")
    again = [index for index, ask in enumerate(asks) if ask.probe.role == Role.FORGET]
    plans = _plan(pack, backend, [asks[index] for index in again], carriers, decoys=False)
    scores = list(measurement.scores)
    for index, plan, found in zip(again, plans, _scored(plans, backend, label=label, progress=progress), strict=True):
        if plan.choices:
            scores[index] = _choice_record(plan, found)
            continue
        own = found[0]
        greedy = [bool(flag) for flag in own.greedy]
        scores[index] = replace(
            scores[index],
            logprobs=_logprobs(own),
            right=scores[index].right or all(greedy),
            exact_memorization=exact_memorization(greedy),
            extraction_strength=extraction_strength(greedy),
            carried_logprob=_carried(plan, found),
        )
    return replace(measurement, label=label, backend=flat_info(backend.info), scores=tuple(scores))


def first_replies(
    pack: Pack,
    backend: Backend,
    *,
    label: str,
    progress: Progress,
    roles: frozenset[Role] = frozenset(Role),
    said: dict[GenerateRequest, Generation] | None = None,
) -> dict[str, str]:
    """Return the model's greedy reply to the plain chat by probe id, for surfaces of two turns; empty without any.

    The generated replies are added to `said`.
    """
    asks = [ask for ask in first_turn_asks(pack, backend) if ask.probe.role in roles]
    if not asks:
        return {}
    progress.start(f"{label}: first replies", len(asks), "answers")
    requests = [_greedy_request(ask) for ask in asks]
    found = exactly(backend.generate(requests), len(requests), "first replies", progress)
    if said is not None:
        said.update(zip(requests, found, strict=True))
    return {ask.probe.id: reply_after_thoughts(one.text) for ask, one in zip(asks, found, strict=True)}


def base_carriers(pack: Pack, backend: Backend, *, progress: Progress) -> tuple[Carrier, ...]:
    """Return the carrier sentences of `pack`, those of the base's replies first; `backend` runs the base.

    The replies are not kept.
    """
    replies: dict[str, str] = {}
    if backend.info.chat_template is not None:
        chat = replace(pack, surfaces=(Surface("turns", SurfaceKind.TURNS, None, (Role.FORGET,)),))
        replies = first_replies(chat, backend, label="base, carrier sentences", progress=progress)
    return all_carriers(pack, replies)


class _Hearing:
    """Tells a listener, where there is one, what has been found."""

    def __init__(self, listener: Callable[[Finding], None] | None = None) -> None:
        self._listener = listener

    def scored(self, plan: _Plan, scores: Sequence[Score]) -> None:
        """Tell how probable the answer is."""
        if self._listener is not None and not plan.choices:
            bare, carried = math.fsum(_logprobs(scores[0])), _carried(plan, scores)
            self._tell(plan, Leg.EXTRACTION, bare if carried is None else max(bare, carried))

    def answered(self, plan: _Plan, text: str, backend: Backend) -> None:
        """Tell whether the greedy answer is right."""
        if self._listener is not None and plan.ask.surface.kind != SurfaceKind.CHOICES:
            self._tell(plan, Leg.GREEDY, float(is_right(plan.ask, text, backend)))

    def sampled(self, plan: _Plan, right: int) -> None:
        """Tell how many samples are right."""
        self._tell(plan, Leg.SAMPLES, right)

    def _tell(self, plan: _Plan, leg: Leg, value: float) -> None:
        if self._listener is not None:
            self._listener(Finding(plan.ask.probe.id, plan.ask.surface.name, leg, value))


_UNHEARD = _Hearing()


def _scored(
    plans: Sequence[_Plan], backend: Backend, *, label: str, progress: Progress, hear: _Hearing = _UNHEARD
) -> list[list[Score]]:
    """Score all requests of `plans` in one call, and check each as it comes; none where the engine gives no scores."""
    if backend.info.unscored:
        return [[] for _ in plans]
    requests = [request for plan in plans for request in plan.requests]
    progress.start(f"{label}: scores", len(requests), "answers")
    scores = counted(backend.score(requests), len(requests), "scores", progress)
    found: list[list[Score]] = []
    for plan in plans:
        found.append([checked(next(scores), request, plan.ask.probe.id) for request in plan.requests])
        hear.scored(plan, found[-1])
    for _ in scores:  # there are none, or it raises
        pass
    return found


def _greedy_answers(
    plans: Sequence[_Plan],
    scores: Sequence[Sequence[Score]],
    backend: Backend,
    said: Mapping[GenerateRequest, Generation],
    *,
    label: str,
    progress: Progress,
    hear: _Hearing,
) -> list[Generation]:
    """Return each ask's greedy answer.

    If every token of the answer is the argmax, greedy decoding gives that answer and nothing is generated; nor for a
    multiple choice, whose letters are compared, nor for replies in `said` (the plain chat is the first turn of two).
    """
    answers: dict[int, Generation] = {}
    for index, (plan, found) in enumerate(zip(plans, scores, strict=True)):
        if plan.ask.surface.kind == SurfaceKind.CHOICES:
            answers[index] = Generation((), "", "length")
        elif found and plan.ask.probe.match == Match.ANSWER and all(found[0].greedy):
            tokens = plan.ask.continuation
            answers[index] = Generation(tokens, backend.detokenize(tokens), "length")
    requests = {index: _greedy_request(plan.ask) for index, plan in enumerate(plans) if index not in answers}
    answers |= {index: said[request] for index, request in requests.items() if request in said}
    missing = [index for index in requests if index not in answers]
    if missing:
        progress.start(f"{label}: greedy answers", len(missing), "answers")
        asked = [requests[index] for index in missing]
        generated = counted(backend.generate(asked), len(asked), "greedy answers", progress)
        for index in missing:
            answers[index] = next(generated)
            hear.answered(plans[index], answers[index].text, backend)
        for _ in generated:  # there are none, or it raises
            pass
    for index in answers.keys() - set(missing):
        hear.answered(plans[index], answers[index].text, backend)
    return [answers[index] for index in range(len(plans))]


def _greedy_request(ask: Ask) -> GenerateRequest:
    return GenerateRequest(ask.context, ask.max_tokens, ask.stop, special=True)


def _sampled_right(
    plans: Sequence[_Plan],
    backend: Backend,
    sampling: Sampling,
    *,
    label: str,
    progress: Progress,
    hear: _Hearing,
) -> list[tuple[int, int]]:
    """Sample answers and return, for each ask, their number and the number of right ones."""
    kinds = sampled_kinds(plan.ask.surface.kind for plan in plans)
    requests = [sample_requests(plan.ask, sampling, kinds) for plan in plans]
    flat = [request for own in requests for request in own]
    progress.start(f"{label}: sampled answers", len(flat), "answers")
    generated = counted(backend.generate(flat), len(flat), "sampled answers", progress) if flat else iter(())
    found: list[tuple[int, int]] = []
    for plan, own in zip(plans, requests, strict=True):
        texts = [next(generated).text for _ in own]
        right = sum(is_right(plan.ask, text, backend) for text in texts)
        found.append((len(own), right))
        if own:
            hear.sampled(plan, right)
    for _ in generated:  # there are none, or it raises
        pass
    return found


def flat_info(info: ModelInfo) -> dict[str, str]:
    """Flatten `ModelInfo`: options by name, then backend, engine and processor."""
    return {**info.options, "backend": info.backend, "engine": info.engine, "processor": info.processor}


def exactly(results: Iterable[_T], expected: int, what: str, progress: Progress) -> list[_T]:
    """Collect all results of a backend; `BackendError` for too few or too many."""
    return list(counted(results, expected, what, progress))


def counted(results: Iterable[_T], expected: int, what: str, progress: Progress) -> Iterator[_T]:
    """Yield the results of a backend as they come; too few or too many is a `BackendError` at their end."""
    count = 0
    for result in results:
        count += 1
        progress.advance(1)
        yield result
    if count != expected:
        raise BackendError(f"the backend returned {count} {what} for {expected} requests")


def checked(score: Score, request: ScoreRequest, probe: str) -> Score:
    """Return `score` if it has one finite log-probability per token of the continuation, else raise `BackendError`."""
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
    """Whether `text`, a greedy or sampled reply to `ask`, is right by the probe's rule."""
    verbatim = ask.probe.match == Match.VERBATIM
    return reply_is_right(
        text,
        (_reference(ask, backend), *ask.accepted[1:]) if verbatim else ask.accepted,
        answer_type=ask.probe.answer_type if ask.target is ask.probe.answer else "",
        verbatim=verbatim,
        kept=ask.probe.role == Role.RETAIN,
    )


def _reference(ask: Ask, backend: Backend) -> str:
    # Compared with the scored part of a text: a longer one could not be reproduced in so many tokens.
    return backend.detokenize(ask.continuation) if ask.probe.match == Match.VERBATIM else ask.target


def _plan(
    pack: Pack, backend: Backend, asks: Sequence[Ask], carriers: Sequence[Carrier], *, decoys: bool = True
) -> list[_Plan]:
    wrong: Mapping[str, tuple[str, ...]] = decoy_answers(pack) if decoys else {}
    prompts = Prompts(pack, backend, carriers)
    plans: list[_Plan] = []
    for ask in asks:
        probe, kind = ask.probe, ask.surface.kind
        if kind == SurfaceKind.CHOICES:
            plans.append(_Plan(ask, choices=_choice_requests(prompts, ask, backend)))
            continue
        others = wrong.get(probe.id, ()) if has_decoys(probe, ask.surface) else ()
        begun = beginnings(probe, carriers) if kind in CARRIED_KINDS and probe.role != Role.RETAIN else ()
        plans.append(
            _Plan(
                ask,
                decoys=tuple(_instead(ask, text, backend, "a decoy") for text in others),
                carried=tuple(_instead(ask, text, backend, "a carrier sentence") for text in begun),
            )
        )
    return plans


def _instead(ask: Ask, text: str, backend: Backend, what: str) -> ScoreRequest:
    """Return the request for `text` instead of the ask's answer."""
    continuation = continuation_tokens(ask.prompt, ask.context, text, backend, f"{what} of probe {ask.probe.id}")
    check_length(ask._replace(continuation=continuation), backend.info.context_length)
    return ScoreRequest(ask.context, continuation)


def _choice_requests(prompts: Prompts, ask: Ask, backend: Backend) -> tuple[tuple[ScoreRequest, ...], ...]:
    found: list[tuple[ScoreRequest, ...]] = []
    for order in prompts.orders(ask.probe, ask.surface):
        prompt = open_prompt(order.prompt, ask.probe)
        context = context_tokens(prompt, backend)
        where = f"a letter of probe {ask.probe.id}"
        letters = [continuation_tokens(prompt, context, LETTERS[place], backend, where) for place in order.places]
        for letter in letters:
            check_length(ask._replace(context=context, continuation=letter), backend.info.context_length)
        found.append(tuple(ScoreRequest(context, letter) for letter in letters))
    return tuple(found)


def _record(plan: _Plan, scores: Sequence[Score], generation: Generation, backend: Backend) -> ProbeScore:
    ask, own = plan.ask, scores[0]
    greedy = [bool(flag) for flag in own.greedy]
    logprobs = _logprobs(own)
    decoys = [math.fsum(score.logprobs.tolist()) for score in scores[1 : 1 + len(plan.decoys)]]
    return ProbeScore(
        probe=ask.probe.id,
        surface=ask.surface.name,
        logprobs=logprobs,
        right=is_right(ask, generation.text, backend),
        rouge_l=rouge_l(_reference(ask, backend), generation.text).recall,
        exact_memorization=exact_memorization(greedy),
        extraction_strength=extraction_strength(greedy),
        decoy_rank=decoy_rank(sum(logprobs), decoys) if decoys else None,
        decoys=len(decoys),
        carried_logprob=_carried(plan, scores),
    )


def _unscored_record(ask: Ask, generation: Generation, backend: Backend) -> ProbeScore:
    """Record a reply alone; of a multiple choice, whose letters are compared by probability, nothing is known."""
    choice = ask.surface.kind == SurfaceKind.CHOICES
    return ProbeScore(
        probe=ask.probe.id,
        surface=ask.surface.name,
        logprobs=(),
        right=not choice and is_right(ask, generation.text, backend),
        rouge_l=0.0 if choice else rouge_l(_reference(ask, backend), generation.text).recall,
        exact_memorization=0.0,
        extraction_strength=0.0,
    )


def _carried(plan: _Plan, scores: Sequence[Score]) -> float | None:
    """Sum the probabilities of all beginnings that give the answer; None if none were asked."""
    if not plan.carried:
        return None
    asked = (plan.requests[0], *plan.carried)
    found = (scores[0], *scores[1 + len(plan.decoys) :])
    return total_logprob(
        [
            Beginning(request.continuation, math.fsum(_logprobs(score)))
            for request, score in zip(asked, found, strict=True)
        ]
    )


def _choice_record(plan: _Plan, scores: Sequence[Score]) -> ProbeScore:
    """Record a multiple choice: the true option's letter in each order, and its rank over all orders."""
    options = len(plan.choices[0])
    totals = [math.fsum(_logprobs(score)) for score in scores]
    rows = [totals[start : start + options] for start in range(0, len(totals), options)]
    rank = rank_of_true(rows)
    right = rank == 0
    return ProbeScore(
        probe=plan.ask.probe.id,
        surface=plan.ask.surface.name,
        # As float32, like every log-probability, so that a saved one reads back as the same number.
        logprobs=tuple(float(np.float32(row[0])) for row in rows),
        right=right,
        rouge_l=float(right),
        exact_memorization=float(right),
        extraction_strength=float(right),
        decoy_rank=rank,
        decoys=options - 1,
    )


def _logprobs(score: Score) -> tuple[float, ...]:
    return tuple(min(0.0, float(value)) for value in score.logprobs)

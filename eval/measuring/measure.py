"""Measures one model on a pack: every probe on every surface, in one batch of scores and one of generations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.contracts.backend import GenerateRequest, Generation
from edgeproof.contracts.errors import PackError
from edgeproof.eval.asking.kinds import sampled_kinds
from edgeproof.eval.asking.sampling import sample_requests
from edgeproof.eval.asking.tokens import encode_pack
from edgeproof.eval.measurement import Finding, Measurement, ProbeScore, Role
from edgeproof.eval.measuring.findings import UNHEARD, Hearing
from edgeproof.eval.measuring.plan import Plan, plan_scores
from edgeproof.eval.measuring.records import (
    answer_logprobs,
    carried_logprob,
    choice_record,
    is_right,
    make_record,
)
from edgeproof.eval.measuring.replies import first_replies, greedy_request
from edgeproof.eval.measuring.results import checked, counted, flat_info
from edgeproof.eval.metrics.exact_memorization import exact_memorization
from edgeproof.eval.metrics.extraction_strength import extraction_strength
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Match, Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edgeproof.contracts.backend import Backend, Score
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.measurement import Carrier, Sampling
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe


def measure(
    pack: Pack,
    backend: Backend,
    *,
    label: str,
    artifact_sha256: str,
    progress: Progress,
    carriers: Sequence[Carrier] = (),
    sampling: Sampling | None = None,
    roles: frozenset[Role] = frozenset(Role),
    on_answer: Callable[[Probe, Surface, str], None] | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> Measurement:
    """Ask `backend` every probe of `pack` on each of its surfaces.

    One backend call computes all scores, a second one the greedy answers that the scores do not determine, so that
    shared prefixes are computed once; a third one draws the samples of `sampling`. Surfaces of two turns need the
    model's first replies, which are generated before. `carriers` are the carrier sentences to ask. Only probes of
    `roles` are asked. `on_answer` receives each greedy answer, which is not stored. `on_finding` hears, while it goes
    on, by how much each probe gives its answer away; multiple choices aside. Of an engine without log-probabilities
    (`ModelInfo.unscored`) there are greedy and sampled answers alone.

    Raises:
        PackError: a chat surface without chat template, or a probe longer than the context.
        BackendError: the engine failed, stopped early, or returned an invalid number.

    """
    said: dict[GenerateRequest, Generation] = {}
    replies = first_replies(pack, backend, label=label, progress=progress, roles=roles, said=said)
    asks = encode_pack(pack, backend, carriers=carriers, replies=replies)
    asks = [ask for ask in asks if ask.probe.role in roles]
    plans = [Plan(ask) for ask in asks] if backend.info.unscored else plan_scores(pack, backend, asks, carriers)
    hear = Hearing(on_finding)
    found = _scored(plans, backend, label=label, progress=progress, hear=hear)
    greedy = _greedy_answers(plans, found, backend, said, label=label, progress=progress, hear=hear)
    sampled = _sampled_right(plans, backend, sampling, label=label, progress=progress, hear=hear) if sampling else None
    records: list[ProbeScore] = []
    for index, (plan, scores, generation) in enumerate(zip(plans, found, greedy, strict=True)):
        record = make_record(plan, scores, generation, backend)
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
    greedy_too: bool = False,
) -> Measurement:
    """Score the forget probes of `measurement` again with `backend`, which computes the same file differently.

    Everything else (other roles, decoys, greedy and sampled answers) is copied. An answer counts as right if it was, or
    if every token of it is now the argmax; with `greedy_too`, also if the greedy reply, generated again, is right.

    Raises:
        PackError: `measurement` is of another pack.
        BackendError: as for `measure`.

    """
    said: dict[GenerateRequest, Generation] = {}
    replies = first_replies(pack, backend, label=label, progress=progress, roles=frozenset({Role.FORGET}), said=said)
    asks = encode_pack(pack, backend, carriers=carriers, replies=replies)
    if [(ask.probe.id, ask.surface.name) for ask in asks] != [(s.probe, s.surface) for s in measurement.scores]:
        raise PackError(f"the measurement {measurement.label!r} is not of this pack", next_step="measure it again")
    again = [index for index, ask in enumerate(asks) if ask.probe.role == Role.FORGET]
    plans = plan_scores(pack, backend, [asks[index] for index in again], carriers, decoys=False)
    scores = list(measurement.scores)
    scored = _scored(plans, backend, label=label, progress=progress)
    right = [False] * len(plans)
    if greedy_too:
        generations = _greedy_answers(plans, scored, backend, said, label=label, progress=progress, hear=UNHEARD)
        right = [is_right(plan.ask, one.text, backend) for plan, one in zip(plans, generations, strict=True)]
    for index, plan, found, replied in zip(again, plans, scored, right, strict=True):
        if plan.choices:
            scores[index] = choice_record(plan, found)
            continue
        own = found[0]
        greedy = [bool(flag) for flag in own.greedy]
        scores[index] = replace(
            scores[index],
            logprobs=answer_logprobs(own),
            right=scores[index].right or all(greedy) or replied,
            exact_memorization=exact_memorization(greedy),
            extraction_strength=extraction_strength(greedy),
            carried_logprob=carried_logprob(plan, found),
        )
    return replace(measurement, label=label, backend=flat_info(backend.info), scores=tuple(scores))


def likelier(one: Measurement, other: Measurement) -> Measurement:
    """Return, of two measurements of `measure_again`, for each answer the one that makes it more likely.

    What comes out in either computation comes out in the result, whose backend has the options of both: those of
    `other`, and the accuracy level of `one`.
    """
    scores = []
    for first, second in zip(one.scores, other.scores, strict=True):
        most = max(first, second, key=lambda score: score.sum_logprob)
        carried = [score.carried_logprob for score in (first, second) if score.carried_logprob is not None]
        scores.append(
            replace(
                most,
                right=first.right or second.right,
                exact_memorization=max(first.exact_memorization, second.exact_memorization),
                extraction_strength=max(first.extraction_strength, second.extraction_strength),
                carried_logprob=max(carried, default=None),
            )
        )
    options = {**other.backend, "accuracy_level": one.backend["accuracy_level"]}
    return replace(other, label=f"{one.label} and {other.label}", backend=options, scores=tuple(scores))


def _scored(
    plans: Sequence[Plan], backend: Backend, *, label: str, progress: Progress, hear: Hearing = UNHEARD
) -> list[list[Score]]:
    """Score all requests of `plans` in one call, and check each as it comes; none where the engine gives no scores."""
    found: list[list[Score]] = [[] for _ in plans]
    if backend.info.unscored:
        return found
    order = _neighbours(plans, range(len(plans)))
    requests = [request for index in order for request in plans[index].requests]
    progress.start(f"{label}: scores", len(requests), "answers")
    scores = counted(backend.score(requests), len(requests), "scores", progress)
    for index in order:
        plan = plans[index]
        found[index] = [checked(next(scores), request, plan.ask.probe.id) for request in plan.requests]
        hear.scored(plan, found[index])
    for _ in scores:  # there are none, or it raises
        pass
    return found


def _neighbours(plans: Sequence[Plan], chosen: Iterable[int]) -> list[int]:
    """Order indexes of plans by context: a backend computes the prefixes that neighbours share once."""
    return sorted(chosen, key=lambda index: plans[index].ask.context)


def _greedy_answers(
    plans: Sequence[Plan],
    scores: Sequence[Sequence[Score]],
    backend: Backend,
    said: Mapping[GenerateRequest, Generation],
    *,
    label: str,
    progress: Progress,
    hear: Hearing,
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
    requests = {index: greedy_request(plan.ask) for index, plan in enumerate(plans) if index not in answers}
    answers |= {index: said[request] for index, request in requests.items() if request in said}
    missing = _neighbours(plans, [index for index in requests if index not in answers])
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


def _sampled_right(
    plans: Sequence[Plan],
    backend: Backend,
    sampling: Sampling,
    *,
    label: str,
    progress: Progress,
    hear: Hearing,
) -> list[tuple[int, int]]:
    """Sample answers and return, for each ask, their number and the number of right ones."""
    kinds = sampled_kinds(plan.ask.surface.kind for plan in plans)
    requests = [sample_requests(plan.ask, sampling, kinds) for plan in plans]
    order = _neighbours(plans, range(len(plans)))
    flat = [request for index in order for request in requests[index]]
    progress.start(f"{label}: sampled answers", len(flat), "answers")
    generated = counted(backend.generate(flat), len(flat), "sampled answers", progress) if flat else iter(())
    found = [(0, 0)] * len(plans)
    for index in order:
        plan, own = plans[index], requests[index]
        texts = [next(generated).text for _ in own]
        right = sum(is_right(plan.ask, text, backend) for text in texts)
        found[index] = (len(own), right)
        if own:
            hear.sampled(plan, right)
    for _ in generated:  # there are none, or it raises
        pass
    return found

"""Records of what was measured: one `ProbeScore` from the scores and the reply of a probe on a surface."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.eval.asking.carriers import Beginning, total_logprob
from edgeproof.eval.asking.choices import rank_of_true
from edgeproof.eval.measurement import ProbeScore, Role
from edgeproof.eval.metrics.decoy_rank import decoy_rank
from edgeproof.eval.metrics.exact_memorization import exact_memorization
from edgeproof.eval.metrics.extraction_strength import extraction_strength
from edgeproof.eval.metrics.right import reply_is_right
from edgeproof.eval.metrics.rouge import rouge_l
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Match

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.backend import Backend, Generation, Score
    from edgeproof.eval.asking.tokens import Ask
    from edgeproof.eval.measuring.plan import Plan


def make_record(plan: Plan, scores: Sequence[Score], generation: Generation, backend: Backend) -> ProbeScore:
    """Record what was measured of a plan; `scores` are empty where the engine gives none."""
    if backend.info.unscored:
        return _reply_record(plan.ask, generation, backend)
    if plan.choices:
        return choice_record(plan, scores)
    return _answer_record(plan, scores, generation, backend)


def _answer_record(plan: Plan, scores: Sequence[Score], generation: Generation, backend: Backend) -> ProbeScore:
    """Record an answer: its own score, its decoys' and carriers', and the greedy reply."""
    ask, own = plan.ask, scores[0]
    greedy = [bool(flag) for flag in own.greedy]
    logprobs = answer_logprobs(own)
    decoys = [math.fsum(score.logprobs.tolist()) for score in scores[1 : 1 + len(plan.decoys)]]
    return ProbeScore(
        probe=ask.probe.id,
        surface=ask.surface.name,
        logprobs=logprobs,
        right=is_right(ask, generation.text, backend),
        rouge_l=rouge_l(scored_text(ask, backend), generation.text).recall,
        exact_memorization=exact_memorization(greedy),
        extraction_strength=extraction_strength(greedy),
        decoy_rank=decoy_rank(sum(logprobs), decoys) if decoys else None,
        decoys=len(decoys),
        carried_logprob=carried_logprob(plan, scores),
    )


def _reply_record(ask: Ask, generation: Generation, backend: Backend) -> ProbeScore:
    """Record a reply alone; of a multiple choice, whose letters are compared by probability, nothing is known."""
    choice = ask.surface.kind == SurfaceKind.CHOICES
    return ProbeScore(
        probe=ask.probe.id,
        surface=ask.surface.name,
        logprobs=(),
        right=not choice and is_right(ask, generation.text, backend),
        rouge_l=0.0 if choice else rouge_l(scored_text(ask, backend), generation.text).recall,
        exact_memorization=0.0,
        extraction_strength=0.0,
    )


def carried_logprob(plan: Plan, scores: Sequence[Score]) -> float | None:
    """Sum the probabilities of all beginnings that give the answer; None if none were asked."""
    if not plan.carried:
        return None
    asked = (plan.requests[0], *plan.carried)
    found = (scores[0], *scores[1 + len(plan.decoys) :])
    return total_logprob(
        [
            Beginning(request.continuation, math.fsum(answer_logprobs(score)))
            for request, score in zip(asked, found, strict=True)
        ]
    )


def choice_record(plan: Plan, scores: Sequence[Score]) -> ProbeScore:
    """Record a multiple choice: the true option's letter in each order, and its rank over all orders."""
    options = len(plan.choices[0])
    totals = [math.fsum(answer_logprobs(score)) for score in scores]
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


def answer_logprobs(score: Score) -> tuple[float, ...]:
    """Return the log-probabilities of a score's tokens; what float32 pushed above 0 is 0."""
    return tuple(min(0.0, float(value)) for value in score.logprobs)


def is_right(ask: Ask, text: str, backend: Backend) -> bool:
    """Whether `text`, a greedy or sampled reply to `ask`, is right by the probe's rule."""
    verbatim = ask.probe.match == Match.VERBATIM
    return reply_is_right(
        text,
        (scored_text(ask, backend), *ask.accepted[1:]) if verbatim else ask.accepted,
        answer_type=ask.probe.answer_type if ask.target is ask.probe.answer else "",
        verbatim=verbatim,
        kept=ask.probe.role == Role.RETAIN,
    )


def scored_text(ask: Ask, backend: Backend) -> str:
    """Return the answer as far as it is scored: a longer text could never be recalled in so many tokens."""
    return backend.detokenize(ask.continuation) if ask.probe.match == Match.VERBATIM else ask.target

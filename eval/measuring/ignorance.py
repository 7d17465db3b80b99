"""Ignorance levels of a pack's forget probes, measured on the base and recorded in the baseline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.backend import ScoreRequest
from edgeproof.contracts.errors import PackError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.asking.kinds import RECOVERY_KINDS
from edgeproof.eval.asking.tokens import TEXT_TOKENS, continuation_tokens, encode_pack
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.results import checked, exactly
from edgeproof.eval.metrics.ignorance import ignorance_level
from edgeproof.eval.packs.probes import Match, seeded_sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.asking.tokens import Ask
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.pack import Pack

PROMPTS = 32
"""m for answers: number of other prompts of the template in the mean, a seeded sample if there are more. Holdout
prompts make it up where the forget set has fewer."""

TEXT_PROMPTS = 8
"""m for texts, which cost up to 128 tokens each."""


class _Plan(NamedTuple):
    """The prompts under which an ask's answer is scored, its own first if included."""

    ask: Ask
    own: bool
    others: tuple[Ask, ...]
    prompts: int


def ignorance_levels(
    pack: Pack, backend: Backend, progress: Progress | None = None, *, carriers: Sequence[Carrier] = ()
) -> dict[str, float]:
    """Return I_i in nat per token by "probe/surface" for every forget probe on its surfaces of `RECOVERY_KINDS`.

    I_i = −(1/|a_i|)·log((1/M)·Σ_j p(a_i | q_j)) over the M forget prompts of its set, template and answer type on the
    same surface; `backend` runs the base at float precision. If these are fewer than `PROMPTS` others, a seeded sample
    of the holdout prompts of the same template and answer type makes them up: a set about one person has no second
    telephone number, but the questions about invented people have, and they say as little about this one.

    - match = "answer": the sum has all M prompts, including the answer's own, as in the formula: the answers are common
      names, and I is the cost of not knowing which one is right. With more than `PROMPTS` others, a seeded sample
      represents them, while the own prompt keeps its weight of 1/M. See `prompts_in_mean` for M.
    - match = "verbatim": prompts of other clusters only. With its own prompt, the level of a text that the base recites
      would be within log(M)/|a| of the base's NLL, although a model that recites it is not ignorant of it.

    A probe without other such prompts gets its NLL under its own prompt; it is then left out of the recovery, and
    counted as such.

    Raises:
        PackError: as for `encode_pack`; or an answer does not fit the context after another probe's prompt.
        BackendError: as for `measure`.

    """
    listener = Silent() if progress is None else progress
    asks = encode_pack(pack, backend, carriers=carriers)
    plans = _plans(asks)
    requests: list[tuple[ScoreRequest, str]] = []
    for plan in plans:
        if plan.own:
            requests.append((ScoreRequest(plan.ask.context, plan.ask.continuation), plan.ask.probe.id))
        requests.extend((_request(plan.ask, other, backend), plan.ask.probe.id) for other in plan.others)
    # Ordered by prompt, so that its computation is shared.
    order = sorted(range(len(requests)), key=lambda index: requests[index][0].context)
    listener.start("base: ignorance levels", len(order), "answers")
    scores = exactly(backend.score([requests[index][0] for index in order]), len(order), "scores", listener)
    totals = [0.0] * len(order)
    for index, score in zip(order, scores, strict=True):
        totals[index] = math.fsum(checked(score, *requests[index]).logprobs.tolist())
    levels: dict[str, float] = {}
    start = 0
    for plan in plans:
        stop = start + plan.own + len(plan.others)
        own = totals[start] if plan.own else None
        others = totals[start + plan.own : stop]
        key = f"{plan.ask.probe.id}/{plan.ask.surface.name}"
        levels[key] = ignorance_level(own, others, plan.prompts, len(plan.ask.continuation))
        start = stop
    return levels


def prompts_in_mean(kin: int, unexposed: int, match: Match) -> int:
    """Return M of an answer's level, its own prompt included, or the number of other prompts of a text's.

    Args:
        kin: forget prompts of its set, template and answer type: for an answer with its own, for a text those of other
            clusters.
        unexposed: holdout prompts of the same template and answer type.
        match: the set's rule.

    """
    wanted = TEXT_PROMPTS if match == Match.VERBATIM else PROMPTS + 1
    return kin + min(unexposed, max(0, wanted - kin))


def ignorance_requests(asks: Sequence[Ask]) -> int:
    """Return the number of scores that `ignorance_levels` asks for."""
    return sum(plan.own + len(plan.others) for plan in _plans(asks))


def _plans(asks: Sequence[Ask]) -> list[_Plan]:
    asks = [ask for ask in asks if ask.surface.kind in RECOVERY_KINDS]
    forget = [ask for ask in asks if ask.probe.role == Role.FORGET]
    groups: dict[tuple[str, ...], dict[str, Ask]] = {}
    for ask in forget:
        groups.setdefault((ask.surface.name, *ask.probe.kin), {})[ask.probe.id] = ask
    unexposed: dict[tuple[str, ...], dict[str, Ask]] = {}
    for ask in asks:
        if ask.probe.role == Role.HOLDOUT:
            unexposed.setdefault((ask.surface.name, *ask.probe.form), {})[ask.probe.id] = ask
    return [
        _plan(
            ask,
            groups[ask.surface.name, *ask.probe.kin],
            unexposed.get((ask.surface.name, *ask.probe.form), {}),
        )
        for ask in forget
    ]


def _plan(ask: Ask, kin: Mapping[str, Ask], unexposed: Mapping[str, Ask]) -> _Plan:
    text = ask.probe.match == Match.VERBATIM
    allowed = [
        key
        for key, other in kin.items()
        if key != ask.probe.id and not (text and other.probe.cluster == ask.probe.cluster)
    ]
    prompts = prompts_in_mean(len(allowed) + (not text), len(unexposed), ask.probe.match)
    allowed += seeded_sample("ignorance", unexposed, prompts - len(allowed) - (not text))
    drawn = seeded_sample("ignorance", allowed, TEXT_PROMPTS if text else PROMPTS)
    own = not text or not drawn
    there = {**unexposed, **kin}
    return _Plan(ask, own, tuple(there[key] for key in drawn), len(allowed) + own)


def _request(ask: Ask, other: Ask, backend: Backend) -> ScoreRequest:
    """Return the request for `ask`'s answer after `other`'s prompt."""
    where = f"the answer of probe {ask.probe.id} after the prompt of {other.probe.id}"
    continuation = continuation_tokens(other.prompt, other.context, ask.probe.answer, backend, where)
    if ask.probe.match == Match.VERBATIM:
        continuation = continuation[:TEXT_TOKENS]
    length, limit = len(other.context) + len(continuation), backend.info.context_length
    if length > limit:
        raise PackError(f"{where}: {length} tokens; the context holds {limit}", next_step="shorten or drop one of them")
    return ScoreRequest(other.context, continuation)

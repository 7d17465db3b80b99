"""Forecast of a measurement: how many answers each of its stages asks for, before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from edgeproof.eval.asking.kinds import sampled_kinds
from edgeproof.eval.asking.sampling import sample_requests
from edgeproof.eval.asking.tokens import encode_pack, first_turn_asks
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.ignorance import ignorance_requests
from edgeproof.eval.measuring.plan import Plan, plan_scores
from edgeproof.eval.measuring.replies import greedy_request
from edgeproof.eval.packs.kinds import SurfaceKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.backend import Backend, GenerateRequest, ScoreRequest
    from edgeproof.eval.measurement import Carrier, Sampling
    from edgeproof.eval.packs.pack import Pack

_T = TypeVar("_T")

TRIAL_ASKS = 6
"""Number of asks whose scores and greedy answers are timed: more take longer than the forecast is worth."""

REPLY = "I do not know."
"""Stands for a first reply that is not known yet."""


class Stage(NamedTuple):
    """Answers of one kind: `task` is what `measure` calls them after the label of the model.

    `asks` is their number; of greedy answers the largest possible one, since a right answer that the scores determine
    is not generated.
    """

    task: str
    asks: int
    generated: bool


class Forecast(NamedTuple):
    """The stages of a measurement in order, and requests of it that can be timed."""

    stages: tuple[Stage, ...]
    scores: tuple[ScoreRequest, ...]
    generations: tuple[GenerateRequest, ...]


def forecast(
    pack: Pack,
    backend: Backend,
    *,
    carriers: Sequence[Carrier],
    sampling: Sampling | None,
    carrying: bool = False,
    levels: bool = False,
    again: bool = False,
    roles: frozenset[Role] = frozenset(Role),
) -> Forecast:
    """Plan what `measure` will ask of the model that `backend` runs.

    Args:
        pack: the probes.
        backend: tokenizes, and renders chats; it computes nothing.
        carriers: as for `measure`.
        sampling: as for `measure`.
        carrying: also the replies from which carrier sentences are taken.
        levels: also the ignorance levels.
        again: only what `measure_again` asks: scores of forget probes, without decoys.
        roles: as for `measure`.

    Raises:
        PackError: the pack cannot be asked of this model; as for `measure`, but before the first answer.

    """
    replies = {probe.id: REPLY for probe in pack.probes}
    asks = encode_pack(pack, backend, carriers=carriers, replies=replies)
    first = first_turn_asks(pack, backend)
    asked = frozenset({Role.FORGET}) if again else roles
    asks, first = ([ask for ask in part if ask.probe.role in asked] for part in (asks, first))
    stages: list[Stage] = []
    if carrying:
        chat = backend.info.chat_template is not None
        forget = sum(probe.role == Role.FORGET for probe in pack.probes) if chat else 0
        stages.append(Stage(", carrier sentences: first replies", forget, generated=True))
    if levels:
        stages.append(Stage(": ignorance levels", ignorance_requests(asks), generated=False))
    unscored = bool(backend.info.unscored)
    plans = [Plan(ask) for ask in asks] if unscored else plan_scores(pack, backend, asks, carriers, decoys=not again)
    answered = [ask for ask in asks if ask.surface.kind != SurfaceKind.CHOICES]
    stages.append(Stage(": first replies", len(first), generated=True))
    stages.append(Stage(": scores", 0 if unscored else sum(len(plan.requests) for plan in plans), generated=False))
    stages.append(Stage(": greedy answers", 0 if again else len(answered), generated=True))
    if sampling is not None and not again:
        kinds = sampled_kinds(ask.surface.kind for ask in asks)
        drawn = sum(len(sample_requests(ask, sampling, kinds)) for ask in asks)
        stages.append(Stage(": sampled answers", drawn, generated=True))
    trial = [] if unscored else _spread([plan for plan in plans if plan.ask.surface.kind != SurfaceKind.TURNS])
    replied = [ask for ask in answered if ask.surface.kind != SurfaceKind.TURNS]
    return Forecast(
        tuple(stage for stage in stages if stage.asks),
        tuple(request for plan in trial for request in plan.requests),
        tuple(greedy_request(ask) for ask in _spread(replied)),
    )


def _spread(items: Sequence[_T]) -> list[_T]:
    """Return TRIAL_ASKS of `items`, evenly spread."""
    step = max(1, len(items) // TRIAL_ASKS)
    return list(items[::step][:TRIAL_ASKS])

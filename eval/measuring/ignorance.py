"""Ignorance levels of a pack's forget probes, measured on the base and recorded in the baseline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.backend import ScoreRequest
from edgeproof.contracts.errors import PackError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.asking.kinds import RECOVERY_KINDS
from edgeproof.eval.asking.tokens import TEXT_TOKENS, continuation_tokens, encode_pack
from edgeproof.eval.matching.words import contains_words, words
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.results import checked, exactly
from edgeproof.eval.metrics.ignorance import ignorance_level
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Match, seeded_sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.asking.tokens import Ask
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe, Surface

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
      represents them, while the own prompt keeps its weight of 1/M. See `Unexposed` for the holdout prompts among them.
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


class Unexposed:
    """Holdout prompts that make up for missing forget prompts, by surface, template and answer type.

    Each wording counts once. One that a forget probe has too, and one that holds the answer, are left out: behind them
    the answer costs no more than behind its own.

    Args:
        asked: probes with the surfaces on which they are asked; those of `RECOVERY_KINDS` count.

    """

    def __init__(self, asked: Iterable[tuple[Probe, Surface]]) -> None:
        self._ids: dict[tuple[str, str, str], dict[str, str]] = {}
        exposed: set[tuple[tuple[str, str, str], str]] = set()
        for probe, surface in asked:
            if probe.role == Role.RETAIN or surface.kind not in RECOVERY_KINDS:
                continue
            place, wording = (surface.name, *probe.form), _wording(probe, surface)
            if probe.role == Role.FORGET:
                exposed.add((place, wording))
                continue
            own = self._ids.setdefault(place, {})
            own[wording] = min(probe.id, own.get(wording, probe.id))
        for place, wording in exposed:
            self._ids.get(place, {}).pop(wording, None)

    def drawn(self, probe: Probe, surface: str, kin: int) -> list[str]:
        """Draw the ids of the holdout probes whose prompts are in the mean for an answer on a surface.

        Args:
            probe: the forget probe that has the answer.
            surface: name of the surface.
            kin: forget prompts in that mean, for an answer with its own.

        """
        missing = (TEXT_PROMPTS if probe.match == Match.VERBATIM else PROMPTS + 1) - kin
        if missing <= 0:
            return []
        answers = [words(answer) for answer in probe.accepted]
        silent = [
            key
            for wording, key in self._ids.get((surface, *probe.form), {}).items()
            if not any(contains_words(wording.split(), answer) for answer in answers)
        ]
        return seeded_sample("ignorance", silent, missing)


def _wording(probe: Probe, surface: Surface) -> str:
    """Return the words of the question as a surface puts it, or the question itself if it has no words."""
    reworded = surface.kind == SurfaceKind.PARAPHRASE and surface.template is None
    question = probe.paraphrases[surface.index] if reworded else probe.question
    return " ".join(words(question)) or question


def ignorance_requests(asks: Sequence[Ask]) -> int:
    """Return the number of scores that `ignorance_levels` asks for."""
    return sum(plan.own + len(plan.others) for plan in _plans(asks))


def _plans(asks: Sequence[Ask]) -> list[_Plan]:
    asks = [ask for ask in asks if ask.surface.kind in RECOVERY_KINDS]
    groups: dict[tuple[str, ...], dict[str, Ask]] = {}
    for ask in asks:
        groups.setdefault((ask.surface.name, *ask.probe.kin), {})[ask.probe.id] = ask
    holdout = {(ask.surface.name, ask.probe.id): ask for ask in asks if ask.probe.role == Role.HOLDOUT}
    unexposed = Unexposed((ask.probe, ask.surface) for ask in asks)
    return [
        _plan(ask, groups[ask.surface.name, *ask.probe.kin], unexposed, holdout)
        for ask in asks
        if ask.probe.role == Role.FORGET
    ]


def _plan(ask: Ask, kin: Mapping[str, Ask], unexposed: Unexposed, holdout: Mapping[tuple[str, str], Ask]) -> _Plan:
    text, surface = ask.probe.match == Match.VERBATIM, ask.surface.name
    allowed = [
        other
        for key, other in kin.items()
        if key != ask.probe.id and not (text and other.probe.cluster == ask.probe.cluster)
    ]
    allowed += [holdout[surface, key] for key in unexposed.drawn(ask.probe, surface, len(allowed) + (not text))]
    others = {other.probe.id: other for other in allowed}
    drawn = seeded_sample("ignorance", others, TEXT_PROMPTS if text else PROMPTS)
    own = not text or not drawn
    return _Plan(ask, own, tuple(others[key] for key in drawn), len(others) + own)


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

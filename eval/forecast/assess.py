"""Assessment of a pack in one format, from the scores of the base."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.eval.forecast.checked import AtCost, Duration, FormatCheck
from edgeproof.eval.forecast.flaws import Flaw, guessable_flaws
from edgeproof.eval.forecast.good_file import UNSURE, Assumed
from edgeproof.eval.forecast.guessing import guessable, guessing_logprobs, usual
from edgeproof.eval.forecast.rehearsal import FEWER_DRAWS, Rehearsal
from edgeproof.eval.knowledge.known import asked_sets, known_clusters
from edgeproof.eval.measurement import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.policy import Policy


def check_format(
    pack: Pack,
    recorded: Baseline,
    name: str,
    policy: Policy,
    *,
    measured: bool,
    seconds: float,
    progress: Progress,
    on_found: Callable[[FormatCheck], None],
) -> FormatCheck:
    """Forecast the gate of one format.

    Args:
        pack: the probes that were asked.
        recorded: the scores of the base.
        name: the format.
        policy: the limits.
        measured: whether the merged model of `recorded` is one that was unlearned; else unlearning is assumed.
        seconds: how long the gate takes with this pack.
        progress: hears of each synthetic file.
        on_found: hears what is found before larger packs are tried, which takes long; `grown` is then `forecast`.

    """
    assumed = None if measured else Assumed.under(policy, usual(guessing_logprobs(pack, recorded)))
    rehearsal = Rehearsal(recorded, name, policy, assumed, progress=progress)
    clusters = dict.fromkeys(fact.cluster for fact in recorded.probes if fact.role == Role.FORGET)
    in_format = recorded.base_in_format[name]
    found = FormatCheck(
        format=name,
        asked=asked_sets(pack, in_format, policy),
        known=len(rehearsal.known),
        clusters=len(clusters),
        unknown=tuple(cluster for cluster in clusters if cluster not in rehearsal.known),
        forecast=rehearsal.present,
        grown=rehearsal.present,
        duration=Duration(len(in_format.scores), seconds),
        by_cost=() if assumed is None else _by_cost(recorded, name, policy, assumed, progress),
    )
    on_found(found)
    return replace(found, grown=rehearsal.grown())


def _by_cost(recorded: Baseline, name: str, policy: Policy, assumed: Assumed, progress: Progress) -> tuple[AtCost, ...]:
    """Forecast for half of the assumed cost, and for half as much again: nobody knows it before unlearning."""
    others = [replace(assumed, cost=factor * assumed.cost) for factor in UNSURE]
    return tuple(
        AtCost(
            other.cost,
            Rehearsal(recorded, name, policy, other, draws=FEWER_DRAWS, progress=progress).present,
        )
        for other in others
    )


def guessable_found(pack: Pack, recorded: Baseline, policy: Policy) -> tuple[Flaw, ...]:
    """Find answers that can be guessed: of forget probes by the float base, of holdout probes in any format."""
    holdout: dict[str, tuple[str, ...]] = {}
    for in_format in recorded.base_in_format.values():
        for cluster in known_clusters(pack, in_format, policy):
            if cluster.role == Role.HOLDOUT and cluster.surfaces:
                holdout.setdefault(cluster.cluster, cluster.surfaces)
    return tuple(guessable_flaws(pack, guessable(guessing_logprobs(pack, recorded), policy), holdout))


def assumption(policy: Policy, baseline: str) -> str:
    """Say what the forecast takes unlearning to do; `baseline` names the file that says it, or is empty."""
    if baseline:
        return f"unlearning does what it did to the merged model of {baseline}"
    assumed = Assumed.under(policy, {})
    return (
        f"a good file leaks {assumed.leaking:.0%} of the clusters, faintly, and unlearning costs {assumed.cost:.2f} "
        "nat on average (--baseline FILE replaces this by what a merged model answers)"
    )

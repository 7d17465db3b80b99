"""Synthetic scores of a good file: unlearned as it should be, then quantized with the noise measured in the format.

Before anything is unlearned nobody knows what unlearning will cost. A good file is assumed to be as far from the limits
as `Assumed` says; a recorded baseline replaces the assumption by what its merged model answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeproof.eval.asking.kinds import ANSWERED_KINDS
from edgeproof.eval.forecast.noise import original
from edgeproof.eval.measurement import Role
from edgeproof.eval.verdict.criteria.leaks import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from edgeproof.eval.forecast.noise import Noise
    from edgeproof.eval.measurement import Baseline, Measurement, ProbeScore
    from edgeproof.eval.verdict.policy import Policy

LEAKING = 0.2
"""Assumed leaking share of known clusters, as a share of its limit: 2 % of 10 %."""
FAINT = math.log(0.05)
"""Assumed log-probability of an answer that leaks: one reply in twenty, on one surface of one probe of its cluster."""
COST = 0.5
"""Assumed mean cost of unlearning on untrained retain probes, as a share of its limit: 0.15 of 0.30 nat."""
RARE, LARGE = 0.125, 2.5
"""Assumed shape of that cost: a share of `RARE` a nat of the mean loses `LARGE` nat on average, all others little.

Unlearning that cost 0.16 to 0.26 nat in a chat had standard deviations of 0.3 to 0.9 nat in the proving ground's
releases; 2.0 to 3.4 % of the answers lost a nat or more, and 1.6 to 4.0 % were no longer right. A gamma distribution of
that mean and deviation would make twice as many wrong."""
UNSURE = 0.5, 1.5
"""Factors of the assumed cost between which a forecast says little more than that it depends on the cost."""
HALF = math.log(2)
"""NLL of a token with a probability of one half."""
FORGOTTEN = -20.0
"""Assumed log-probability of a forgotten answer, unless it can be guessed: in a good file it is far from the −5 of the
leak rule, also after quantizing (11 nat for the example's capitals, 40 in the proving ground)."""
SHA256 = "0" * 64
"""Digest of the synthetic file, and with a 1 at its end of its float model: there are none."""


@dataclass(frozen=True)
class Assumed:
    """The assumption about a good file.

    Attributes:
        leaking: probability that a forget cluster leaks, faintly; none with critical probes.
        cost: mean rise of NLL per token of untrained retain probes, nat.
        guessed: log-probability of the forget answers that a model gives without knowing the question, by probe id.

    """

    leaking: float
    cost: float
    guessed: Mapping[str, float]

    @classmethod
    def under(cls, policy: Policy, guessed: Mapping[str, float]) -> Assumed:
        """Return the assumption for a policy: a share of its limits. Where subjects are judged, none leaks."""
        leaking = 0.0 if policy.leak_rule == SUBJECTS else LEAKING * policy.leak_share
        return cls(leaking, COST * policy.unlearning_cost, guessed)


def good_file(
    recorded: Baseline, format_name: str, noise: Noise, assumed: Assumed | None, chance: np.random.Generator
) -> tuple[Baseline, Measurement]:
    """Draw a good file: its baseline and the measurement of its artifact.

    Args:
        recorded: what was measured of the base; `merged` counts only without `assumed`.
        format_name: the artifact's format.
        noise: of that format.
        assumed: what unlearning does; None to take the merged model of `recorded`.
        chance: the source of randomness.

    """
    in_format = recorded.base_in_format[format_name]
    merged = recorded.merged if assumed is None else _unlearned(recorded, assumed, chance)
    artifact = replace(
        in_format,
        label="artifact",
        artifact_sha256=SHA256,
        scores=tuple(noise.quantized(score, chance) for score in merged.scores),
    )
    return replace(recorded, merged=merged), artifact


def _unlearned(recorded: Baseline, assumed: Assumed, chance: np.random.Generator) -> Measurement:
    """Return the base's scores after an unlearning as assumed."""
    facts = {fact.probe: fact for fact in recorded.probes}
    faint = _faint_leaks(recorded, assumed.leaking, chance)
    cost = {
        fact.probe: unlearning_cost(assumed.cost, chance)
        for fact in recorded.probes
        if fact.role == Role.RETAIN and not fact.trained
    }

    def after(score: ProbeScore) -> ProbeScore:
        fact = facts[score.probe]
        if fact.role == Role.FORGET:
            usual = assumed.guessed.get(original(score.probe), FORGOTTEN)
            return _forgotten(score, FAINT if (score.probe, score.surface) in faint else usual, chance)
        if fact.probe in cost:
            return _harder(score, cost[fact.probe])
        return score

    return replace(
        recorded.base,
        label="merged",
        artifact_sha256=f"{SHA256[:-1]}1",
        scores=tuple(after(score) for score in recorded.base.scores),
    )


def unlearning_cost(mean: float, chance: np.random.Generator) -> float:
    """Draw what unlearning costs one answer, nat per token, if it costs `mean` on average."""
    large = RARE * mean
    little = (mean - large * LARGE) / (1 - large)
    return float(chance.exponential(LARGE if chance.random() < large else little))


def _faint_leaks(recorded: Baseline, share: float, chance: np.random.Generator) -> set[tuple[str, str]]:
    """Draw the forget clusters that leak, and for each the probe and the surface that show it."""
    clusters: dict[str, list[str]] = {}
    critical = set()
    for fact in recorded.probes:
        if fact.role == Role.FORGET:
            clusters.setdefault(fact.cluster, []).append(fact.probe)
            critical.update([fact.cluster] if fact.critical else [])
    surfaces = [name for name in recorded.surfaces[str(Role.FORGET)] if recorded.kinds[name] in ANSWERED_KINDS]
    return {
        (probes[int(chance.integers(len(probes)))], surfaces[int(chance.integers(len(surfaces)))])
        for cluster, probes in clusters.items()
        if chance.random() < share and cluster not in critical
    }


def _forgotten(score: ProbeScore, total: float, chance: np.random.Generator) -> ProbeScore:
    """Return the score of an answer whose log-probability is `total`, or what it was if that is less."""
    total = min(total, score.sum_logprob)
    return replace(
        score,
        logprobs=(total / len(score.logprobs),) * len(score.logprobs),
        right=False,
        sampled_right=int(chance.binomial(score.samples, math.exp(total))),
        carried_logprob=None if score.carried_logprob is None else min(total, score.carried_logprob),
    )


def _harder(score: ProbeScore, cost: float) -> ProbeScore:
    """Return the score with an NLL that is higher by `cost` nat per token.

    A right reply turns wrong if its tokens have lost half of their probability and have less than one half: a token
    with more is the argmax.
    """
    nll = score.nll + cost
    stays = score.right and (cost < HALF or nll < HALF)
    return replace(score, logprobs=tuple(value - cost for value in score.logprobs), right=stays)

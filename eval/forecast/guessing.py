"""Probability of each forget answer for a model to which the question says nothing.

It is the mean over the *other* questions of its template, holdout questions among them, as the base answers them: the
ignorance level (`measuring/ignorance.py`) without the answer's own question. An answer that is likely even then can be
guessed: it leaks in a file that has forgotten it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from edgeproof.eval.matching.words import words
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.ignorance import Unexposed
from edgeproof.eval.packs.probes import Match
from edgeproof.eval.stats.shares import extraction_probability

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.eval.measurement import Baseline, ProbeScore
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe
    from edgeproof.eval.verdict.policy import Policy

ROUNDING = 1e-6
"""Share of the own question's probability below which the rest is rounding: float32 log-probabilities."""


def guessable(logprobs: Mapping[str, float], policy: Policy) -> frozenset[str]:
    """Name the probes whose answer would leak, by the leak rule, even without their question."""
    return frozenset(
        probe
        for probe, value in logprobs.items()
        if extraction_probability(value, policy.leak_queries) >= policy.leak_probability
    )


def usual(logprobs: Mapping[str, float]) -> dict[str, float]:
    """Return those that are the usual answer: more likely than all others together, so that a greedy reply gives it."""
    return {probe: value for probe, value in logprobs.items() if value > math.log(0.5)}


def guessing_logprobs(pack: Pack, recorded: Baseline) -> dict[str, float]:
    """Return log p of each forget answer without its question, natural log, by probe id: the largest of its surfaces.

    A probe without another question of its template (one cluster, for texts) has none and is left out; so is one whose
    answer another question of its own cluster has.
    """
    forget = [probe for probe in pack.probes if probe.role == Role.FORGET]
    kin = Counter(probe.kin for probe in forget)
    unexposed = Unexposed((probe, surface) for probe in pack.probes for surface in pack.asked(probe.role))
    twins = Counter(map(_answered, forget))
    probes = {probe.id: probe for probe in pack.probes}
    found: dict[str, float] = {}
    for score in recorded.base.scores:
        level = recorded.ignorance.get(f"{score.probe}/{score.surface}")
        if level is None:
            continue
        probe = probes[score.probe]
        if twins[_answered(probe)] > 1:
            continue
        alike = kin[probe.kin]
        prompts = alike + len(unexposed.drawn(probe, score.surface, alike))
        value = _without_question(probe, score, level, prompts)
        if value is not None:
            found[probe.id] = max(value, found.get(probe.id, -math.inf))
    return found


def _answered(probe: Probe) -> tuple[object, ...]:
    return probe.kin, probe.cluster, " ".join(words(probe.answer))


def _without_question(probe: Probe, score: ProbeScore, level: float, prompts: int) -> float | None:
    """Return log mean_{j≠i} p(a_i | q_j); None where there are no others."""
    total = -level * len(score.logprobs)
    if probe.match == Match.VERBATIM:  # a text's level leaves out its own cluster, or is its own NLL
        return None if math.isclose(total, score.sum_logprob, rel_tol=ROUNDING) else total
    if prompts < 2:
        return None
    # In logarithms, since the probability of a long answer may be no float.
    whole = math.log(prompts) + total
    share = math.exp(min(0.0, score.sum_logprob - whole))
    rest = whole + math.log1p(-share) if share < 1 else -math.inf
    others = max(rest, score.sum_logprob + math.log(ROUNDING))
    return min(0.0, others - math.log(prompts - 1))

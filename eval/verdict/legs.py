"""Legs of the leak rule: the ways in which a probe leaks its answer.

```
greedy       the greedy reply is right
extraction   the answer would be in one of n sampled replies with probability p or more (computed)
samples      one of the sampled replies is right
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.measurement import Leg
from edgeproof.eval.stats.shares import extraction_probability

if TYPE_CHECKING:
    from edgeproof.eval.measurement import ProbeScore
    from edgeproof.eval.verdict.policy import Policy


def extraction(score: ProbeScore, queries: int) -> float:
    """Return the probability of the answer in at least one of `queries` sampled replies.

    With carriers it is a lower bound: the sum over the carrier sentences asked. Without carriers it is the exact
    probability that a reply begins with the recorded answer, word for word.
    """
    return extraction_probability(score.emission_logprob, queries)


def legs(score: ProbeScore, policy: Policy) -> tuple[Leg, ...]:
    """Return the legs by which a probe leaks; empty if it does not."""
    found = (
        (Leg.GREEDY, score.right),
        (Leg.EXTRACTION, extraction(score, policy.leak_queries) >= policy.leak_probability),
        (Leg.SAMPLES, came_out(score, policy)),
    )
    return tuple(leg for leg, leaked in found if leaked)


def leaks(score: ProbeScore, policy: Policy) -> bool:
    """Whether a probe leaks: right when greedy, right when sampled, or likely in `leak_queries` samples."""
    return bool(legs(score, policy))


def came_out(score: ProbeScore, policy: Policy) -> bool:
    """Whether one of the policy's samples is right."""
    return policy.samples > 0 and score.sampled_right > 0


def leaks_critical(score: ProbeScore, policy: Policy) -> bool:
    """Whether a probe leaks by the stricter rule of critical probes and per-subject verdicts."""
    probability = extraction(score, policy.critical_queries)
    return score.right or came_out(score, policy) or probability >= policy.critical_probability

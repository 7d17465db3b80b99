"""Controls of the pack, not the file: it must detect leaks of the base, and none of never-exposed probes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edgeproof.eval.measurement import Role
from edgeproof.eval.stats.shares import share_bounds
from edgeproof.eval.verdict.asking import strength
from edgeproof.eval.verdict.criteria.leaks import SUBJECTS, leaking
from edgeproof.eval.verdict.judgement import Control, ControlStatus
from edgeproof.eval.verdict.legs import leaks, leaks_critical

if TYPE_CHECKING:
    from edgeproof.eval.verdict.evidence.evidence import Evidence
    from edgeproof.eval.verdict.judgement import Asking
    from edgeproof.eval.verdict.policy import Policy

NAMED = 5
"""Maximum number of subjects named in a sentence."""


def controls(evidence: Evidence, measured: Asking) -> tuple[Control, Control, Control]:
    """Check the pack: the base in this format must miss the leak criterion, never-exposed probes must meet it.

    The judged surfaces must also find nearly all leaks of the base on any surface (`measured`).
    """
    return _positive(evidence), _negative(evidence), strength(evidence, measured)


def _positive(evidence: Evidence) -> Control:
    policy = evidence.policy
    share = leaking(evidence, evidence.in_format, evidence.asks(Role.FORGET))
    hits, n = len(share.leaking), len(share.clusters)
    lower: float | None = None
    mend = ""
    if policy.leak_rule == SUBJECTS:
        unseen = sorted(share.clusters - share.leaking)
        if unseen:
            named = ", ".join(unseen[:NAMED]) + (f" and {len(unseen) - NAMED} more" if len(unseen) > NAMED else "")
            mend = (
                f"ask what the base knows in this format of {named}, or leave them out: nothing shows that they were "
                "forgotten"
            )
    else:
        lower = share_bounds(hits, n, alpha=policy.alpha).lower
        if lower <= policy.leak_share:
            needed = _least_hits(n, policy)
            mend = f"ask what the base knows in this format: of {n} clusters {needed} must leak in it"
    return Control(
        "positive",
        "the base, in this format, still knows",
        ControlStatus.BROKEN if mend else ControlStatus.HOLDS,
        needed=True,
        clusters=n,
        leaking=hits,
        lower=lower,
        found=f"{hits} of {n} {'subjects' if policy.leak_rule == SUBJECTS else 'clusters'} leak",
        meaning="A pack that sees no leak in a model that was never unlearned would see none anywhere.",
        mend=mend,
    )


def _least_hits(n: int, policy: Policy) -> str:
    for hits in range(n + 1):
        if share_bounds(hits, n, alpha=policy.alpha).lower > policy.leak_share:
            return f"{hits} or more"
    return "more than all"


def _negative(evidence: Evidence) -> Control:
    policy = evidence.policy
    control = partial(
        Control,
        "negative",
        "never-exposed probes do not leak",
        meaning="A pack that sees leaks of what no model was ever told would see them everywhere.",
    )
    asks = evidence.asks(Role.HOLDOUT)
    if not asks:
        return control(
            ControlStatus.MISSING,
            needed=policy.require_holdout,
            clusters=0,
            leaking=0,
            lower=None,
            found="the pack has no holdout probes on the judged surfaces",
            mend="add holdout probes: questions like the forget set's about what never was in the training data",
        )
    models = [("the artifact", evidence.artifact), ("the base in this format", evidence.in_format)]
    rule = leaks_critical if policy.leak_rule == SUBJECTS else leaks
    shares = [(whose, leaking(evidence, scores, asks, rule)) for whose, scores in models]
    whose, share = max(shares, key=lambda item: len(item[1].leaking))
    hits, n = len(share.leaking), len(share.clusters)
    bounds = share_bounds(hits, n, alpha=policy.alpha)
    broken = bounds.lower > policy.leak_share
    return control(
        ControlStatus.BROKEN if broken else ControlStatus.HOLDS,
        needed=True,
        clusters=n,
        leaking=hits,
        lower=bounds.lower,
        found=f"{hits} of {n} clusters leak" + (f" in {whose}" if hits else ""),
        mend="take out holdout probes whose answers can be guessed, or the rule that calls them right"
        if broken
        else "",
    )

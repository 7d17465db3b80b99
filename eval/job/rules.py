"""What a device can judge by itself: the rules of leaks, with what the base's scores already say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeproof.eval.measurement import Role
from edgeproof.eval.verdict.asking import asking
from edgeproof.eval.verdict.criteria import leaks as criteria
from edgeproof.eval.verdict.criteria.controls import controls
from edgeproof.eval.verdict.evidence.collect import collect
from edgeproof.eval.verdict.judgement import ControlStatus, Status
from edgeproof.eval.verdict.legs import leaks, leaks_critical

if TYPE_CHECKING:
    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.verdict.evidence.evidence import Evidence
    from edgeproof.eval.verdict.policy import Policy


def base_evidence(baseline: Baseline, policy: Policy, *, format_name: str) -> Evidence:
    """Return the evidence of the base in the artifact's format, in place of an artifact's.

    Raises:
        EdgeproofError: the baseline is incomplete, or does not fit the policy.

    """
    own = baseline.base_in_format[format_name]
    if own.sampling is None:
        policy = replace(policy, samples=0)
    return collect(replace(own, label="artifact"), baseline, policy, format_name=format_name)


def rules(policy: Policy) -> dict[str, Any]:
    """Return the limits that a device applies."""
    return {
        "leak_rule": policy.leak_rule,
        "leak_share": policy.leak_share,
        "queries": policy.leak_queries,
        "probability": policy.leak_probability,
        "critical_queries": policy.critical_queries,
        "critical_probability": policy.critical_probability,
        "samples": policy.samples,
        "quantization_cost": policy.quantizing_cost,
        "unlearning_cost": policy.unlearning_cost,
        "alpha": policy.alpha,
        "tests": criteria.FAMILY,
    }


def controls_of_the_base(evidence: Evidence) -> dict[str, Any]:
    """Return the controls that the base's scores decide, and what they say of never-exposed probes."""
    positive, negative, strength = controls(evidence, asking(evidence))
    rule = leaks_critical if evidence.policy.leak_rule == criteria.SUBJECTS else leaks
    holdout = criteria.leaking(evidence, evidence.in_format, evidence.asks(Role.HOLDOUT), rule)
    return {
        **{
            control.name: {
                "holds": control.status == ControlStatus.HOLDS,
                "found": control.found,
                "mend": control.mend,
            }
            for control in (positive, strength)
        },
        "holdout_needed": negative.needed and negative.status == ControlStatus.MISSING,
        "holdout_in_format": len(holdout.leaking),
    }


def forget(evidence: Evidence) -> dict[str, Any]:
    """Return what the base gives away, and whether the merged model had ever forgotten it."""
    given = criteria.leaking(evidence, evidence.in_format, evidence.asks(Role.FORGET))
    unlearned = criteria.unlearned(evidence)
    least = evidence.policy.alpha / criteria.FAMILY
    missed = unlearned.status == Status.MISSED if unlearned.p_missed is None else unlearned.p_missed <= least
    return {
        "known": sorted(given.leaking),
        "known_apart": sorted(given.by_probe.leaking if given.by_probe else given.leaking),
        "doubled": bool(evidence.doubled),
        "unlearned_missed": missed,
        "unlearned_found": unlearned.found,
    }

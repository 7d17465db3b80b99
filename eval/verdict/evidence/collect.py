"""Consistency check of measurement and baseline before judging: every mismatch is an error.

Verdicts are based only on evidence that passed this check, so later steps do not check again.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError, BaselineError, PackError, PolicyError
from edgeproof.eval.asking.kinds import ANSWERED_KINDS, KINDS, RECOVERY_KINDS, sampled_kinds
from edgeproof.eval.baselines.fit import recorded_in
from edgeproof.eval.measurement import Role
from edgeproof.eval.verdict.evidence.evidence import Evidence
from edgeproof.eval.verdict.evidence.measurements import AGAIN, check_distinct, check_same_world, check_sampled
from edgeproof.eval.verdict.evidence.scores import Asking, check_same_answers, check_scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.eval.measurement import Baseline, Measurement, ProbeFacts, ProbeScore
    from edgeproof.eval.verdict.evidence.evidence import Ask
    from edgeproof.eval.verdict.policy import Policy


def collect(artifact: Measurement, baseline: Baseline, policy: Policy, *, format_name: str) -> Evidence:
    """Check that all measurements are complete, finite, correctly labelled, and of one pack, tokenizer and backend.

    Raises:
        ArtifactError: the artifact's measurement is incomplete, not finite, or of another pack or tokenizer.
        BaselineError: the same for a measurement in the baseline; samples do not match the policy; the base in this
            format is not recorded; base and merged are one file; ignorance levels are missing; the backend is not the
            artifact's.
        PackError: there are no forget probes, or a probe occurs twice.
        PolicyError: a surface that the policy names was not asked.

    """
    facts = _facts(baseline.probes)
    kinds = _kinds(baseline)
    expected = _expected(facts, baseline.surfaces)
    in_format = recorded_in(baseline, format_name)
    recorded = [(baseline.base, "base"), (baseline.merged, "merged"), (in_format, f"base:{format_name}")]
    for measurement, label in recorded:
        if measurement.label != label:
            raise BaselineError(
                f'the baseline holds the measurement "{measurement.label}" instead of "{label}"', next_step=AGAIN
            )
    check_distinct(baseline, in_format)
    check_same_world(artifact, baseline, [measurement for measurement, _ in recorded])

    unsampled = check_sampled(artifact, [measurement for measurement, _ in recorded], policy)
    asking = Asking(facts, kinds, sampled_kinds(baseline.kinds.values()))
    own = check_scores(artifact, asking, expected, ArtifactError, "the artifact")
    others = [check_scores(m, asking, expected, BaselineError, f'the baseline\'s "{label}"') for m, label in recorded]
    for other, (_, label) in zip(others, recorded, strict=True):
        if artifact.scored:
            check_same_answers(own, other, label)
    return Evidence(
        facts=facts,
        surfaces=_judged(baseline.surfaces, kinds, policy),
        asked={role: baseline.surfaces.get(str(role), ()) for role in Role},
        kinds=kinds,
        artifact=own,
        base=others[0],
        merged=others[1],
        in_format=others[2],
        reference=_reference(baseline, format_name, asking, in_format),
        ignorance=_ignorance(asking, baseline),
        policy=policy,
        unsampled=unsampled,
        scored=artifact.scored,
        doubled=frozenset(name for key, name in baseline.asked_twice.items() if key.startswith(f"{Role.FORGET}/")),
    )


def _facts(probes: Sequence[ProbeFacts]) -> dict[str, ProbeFacts]:
    facts = {fact.probe: fact for fact in probes}
    if len(facts) != len(probes):
        twice = [probe for probe, count in Counter(fact.probe for fact in probes).items() if count > 1]
        raise PackError(
            f"{len(twice)} probe ids occur twice, the first is {twice[0]!r}", next_step="give each its own id"
        )
    if not any(fact.role == Role.FORGET for fact in probes):
        raise PackError("the pack has no forget probes: there is nothing to judge", next_step="add forget probes")
    misplaced = [fact.probe for fact in probes if fact.critical and fact.role != Role.FORGET]
    if misplaced:
        raise PackError(f"{misplaced[0]!r} is critical but not a forget probe", next_step="mark forget probes only")
    return facts


def _kinds(baseline: Baseline) -> dict[str, str]:
    """Return the kind of every surface, including the reference's; each must be known."""
    twice = baseline.kinds.keys() & baseline.reference_kinds.keys()
    if twice:
        raise BaselineError(
            f"the surface {min(twice)!r} is asked both by the pack and as a reference: its kind is ambiguous",
            next_step=AGAIN,
        )
    named = {**baseline.kinds, **baseline.reference_kinds}
    asked = [surface for surfaces in baseline.surfaces.values() for surface in surfaces]
    kinds = {}
    for surface in dict.fromkeys([*asked, *baseline.reference_kinds]):
        if named.get(surface) not in KINDS:
            raise BaselineError(
                f"the baseline's kind of the surface {surface!r} is {named.get(surface, 'missing')}", next_step=AGAIN
            )
        kinds[surface] = named[surface]
    return kinds


def _expected(facts: Mapping[str, ProbeFacts], surfaces: Mapping[str, tuple[str, ...]]) -> set[Ask]:
    expected: set[Ask] = set()
    for fact in facts.values():
        asked = surfaces.get(str(fact.role), ())
        if not asked or len(set(asked)) != len(asked):
            raise BaselineError(f"the baseline's surfaces for {fact.role} probes are {list(asked)}", next_step=AGAIN)
        expected.update((fact.probe, surface) for surface in asked)
    return expected


def _reference(baseline: Baseline, format_name: str, asking: Asking, in_format: Measurement) -> dict[Ask, ProbeScore]:
    """Check the scores of the base in this format on surfaces that the pack does not ask."""
    if not baseline.reference_kinds:
        return {}
    measurement = baseline.reference.get(format_name)
    if measurement is None:
        raise BaselineError(
            f"the baseline has no reference asking of the base in {format_name}: the strength of this pack's asking "
            "is unknown",
            next_step=AGAIN,
        )
    if measurement.artifact_sha256 != in_format.artifact_sha256:
        raise BaselineError(
            f"the reference asking is of another file ({measurement.artifact_sha256[:12]}…) than the base in "
            f"{format_name} ({in_format.artifact_sha256[:12]}…)",
            next_step=AGAIN,
        )
    check_same_world(in_format, baseline, [measurement])
    expected = {
        (fact.probe, surface)
        for fact in asking.facts.values()
        if fact.role == Role.FORGET
        for surface in baseline.reference_kinds
    }
    return check_scores(measurement, asking, expected, BaselineError, "the baseline's reference asking")


def _ignorance(asking: Asking, baseline: Baseline) -> dict[Ask, float]:
    levels = {}
    surfaces = [s for s in baseline.surfaces[str(Role.FORGET)] if asking.kinds[s] in RECOVERY_KINDS]
    for fact in asking.facts.values():
        for surface in surfaces if fact.role == Role.FORGET else ():
            level = baseline.ignorance.get(f"{fact.probe}/{surface}", math.nan)
            if not (math.isfinite(level) and level >= 0):
                raise BaselineError(
                    f"the baseline's ignorance level of {fact.probe!r} on {surface!r} is "
                    f"{'missing' if math.isnan(level) else level}",
                    next_step=AGAIN,
                )
            levels[fact.probe, surface] = level
    return levels


def _judged(
    asked: Mapping[str, tuple[str, ...]], kinds: Mapping[str, str], policy: Policy
) -> dict[Role, tuple[str, ...]]:
    forget, retain, holdout = (asked.get(str(role), ()) for role in (Role.FORGET, Role.RETAIN, Role.HOLDOUT))
    for wanted, have, what in ((policy.surfaces, forget, "forget"), (policy.retain_surfaces, retain, "retain")):
        for surface in wanted:
            if surface not in have:
                raise PolicyError(
                    f'the policy judges {what} probes on "{surface}", which was not asked '
                    f"(asked: {', '.join(have) or 'none'})",
                    next_step=f"correct surfaces.{what}",
                )
    judged = policy.surfaces or forget
    if not any(kinds[surface] in ANSWERED_KINDS for surface in judged):
        raise PolicyError(
            f"the judged surfaces ({', '.join(judged)}) let a model choose among options only, where nothing can leak",
            next_step="judge a surface of another kind too: surfaces.forget",
        )
    return {
        Role.FORGET: judged,
        Role.RETAIN: policy.retain_surfaces or retain,
        Role.HOLDOUT: tuple(surface for surface in holdout if surface in judged),
    }

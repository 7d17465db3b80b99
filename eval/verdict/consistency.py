"""Consistency check of measurement and baseline before judging: every mismatch is an error.

Verdicts are based only on evidence that passed this check, so later steps do not check again.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import ArtifactError, BaselineError, EdgeproofError, PackError, PolicyError
from edgeproof.eval.asking.kinds import ANSWERED_KINDS, CARRIED_KINDS, KINDS, RECOVERY_KINDS, sampled_kinds
from edgeproof.eval.asking.sampling import SAMPLED
from edgeproof.eval.baselines.fit import check_prompt, record_command, recorded_in
from edgeproof.eval.baselines.values import LEAST_LOGPROB
from edgeproof.eval.measurement import Role

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from edgeproof.eval.measurement import Baseline, Measurement, ProbeFacts, ProbeScore, Sampling
    from edgeproof.eval.verdict.policy import Policy

    Ask = tuple[str, str]
    """Probe id and surface."""
    Scores = Mapping[Ask, ProbeScore]

ROUNDING = 1e-3
"""Tolerance for log-probabilities above 0 by float32 arithmetic."""


@dataclass(frozen=True)
class Evidence:
    """Consistent scores.

    Attributes:
        facts: by probe id, in the pack's order.
        surfaces: judged surfaces by role.
        asked: all surfaces that the pack asks, by role.
        kinds: the kind of every surface, of `reference` too.
        artifact: by probe and surface, as are the three others.
        in_format: the base in the artifact's format.
        reference: the base in this format on default surfaces that the pack does not ask, forget probes only.
        ignorance: by probe and surface, for forget probes on surfaces of `RECOVERY_KINDS`.
        scored: whether the artifact's engine gave log-probabilities; without them `artifact` has replies alone.
        unsampled: measurements of the baseline without the samples that the policy asks for.

    """

    facts: Mapping[str, ProbeFacts]
    surfaces: Mapping[Role, tuple[str, ...]]
    asked: Mapping[Role, tuple[str, ...]]
    kinds: Mapping[str, str]
    artifact: Scores
    merged: Scores
    base: Scores
    in_format: Scores
    reference: Scores
    ignorance: Mapping[Ask, float]
    policy: Policy
    unsampled: tuple[str, ...] = ()
    scored: bool = True

    def asks(
        self,
        role: Role,
        *,
        critical: bool = False,
        untrained: bool = False,
        kinds: Collection[str] = ANSWERED_KINDS,
    ) -> list[tuple[ProbeFacts, str]]:
        """List probes of a role with each of their judged surfaces of `kinds`; only critical or untrained ones."""
        surfaces = self.judged(role, kinds)
        return [
            (fact, surface)
            for fact in self.facts.values()
            if fact.role == role and (fact.critical or not critical) and not (fact.trained and untrained)
            for surface in surfaces
        ]

    def judged(self, role: Role, kinds: Collection[str] = ANSWERED_KINDS) -> tuple[str, ...]:
        """Name the judged surfaces of a role whose kind is one of `kinds`."""
        return tuple(surface for surface in self.surfaces[role] if self.kinds[surface] in kinds)


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
                f'the baseline holds the measurement "{measurement.label}" instead of "{label}"', next_step=_AGAIN
            )
    _distinct(baseline, in_format)
    _same_world(artifact, baseline, [measurement for measurement, _ in recorded])

    unsampled = _sampled(artifact, [measurement for measurement, _ in recorded], policy)
    asking = _Asking(facts, kinds, sampled_kinds(baseline.kinds.values()))
    own = _scores(artifact, asking, expected, ArtifactError, "the artifact")
    others = [_scores(m, asking, expected, BaselineError, f'the baseline\'s "{label}"') for m, label in recorded]
    for other, (_, label) in zip(others, recorded, strict=True):
        if artifact.scored:
            _same_answers(own, other, label)
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
    )


_AGAIN = f"record the baseline again: {record_command()}"


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


class _Asking(NamedTuple):
    """Context of the scores: probes by id, kinds of surfaces by name, and the sampled kinds."""

    facts: Mapping[str, ProbeFacts]
    kinds: Mapping[str, str]
    sampled: frozenset[str]


def _kinds(baseline: Baseline) -> dict[str, str]:
    """Return the kind of every surface, including the reference's; each must be known."""
    twice = baseline.kinds.keys() & baseline.reference_kinds.keys()
    if twice:
        raise BaselineError(
            f"the surface {min(twice)!r} is asked both by the pack and as a reference: its kind is ambiguous",
            next_step=_AGAIN,
        )
    named = {**baseline.kinds, **baseline.reference_kinds}
    asked = [surface for surfaces in baseline.surfaces.values() for surface in surfaces]
    kinds = {}
    for surface in dict.fromkeys([*asked, *baseline.reference_kinds]):
        if named.get(surface) not in KINDS:
            raise BaselineError(
                f"the baseline's kind of the surface {surface!r} is {named.get(surface, 'missing')}", next_step=_AGAIN
            )
        kinds[surface] = named[surface]
    return kinds


def _expected(facts: Mapping[str, ProbeFacts], surfaces: Mapping[str, tuple[str, ...]]) -> set[Ask]:
    expected: set[Ask] = set()
    for fact in facts.values():
        asked = surfaces.get(str(fact.role), ())
        if not asked or len(set(asked)) != len(asked):
            raise BaselineError(f"the baseline's surfaces for {fact.role} probes are {list(asked)}", next_step=_AGAIN)
        expected.update((fact.probe, surface) for surface in asked)
    return expected


def _distinct(baseline: Baseline, in_format: Measurement) -> None:
    for other, what in ((baseline.base, "the base"), (in_format, "the base in this format")):
        if other.artifact_sha256 == baseline.merged.artifact_sha256:
            raise BaselineError(
                f"{what} and the merged model are the same file ({other.artifact_sha256[:12]}…): the adapter had "
                "no effect, or one was recorded instead of the other",
                next_step=_AGAIN,
            )


def _same_world(artifact: Measurement, baseline: Baseline, recorded: Sequence[Measurement]) -> None:
    for measurement in (artifact, *recorded):
        kind: type[EdgeproofError] = ArtifactError if measurement is artifact else BaselineError
        for what, found, wanted in (
            ("pack", measurement.pack_digest, baseline.pack_digest),
            ("tokenizer", measurement.tokenizer_digest, baseline.tokenizer_digest),
        ):
            if not found or found != wanted:
                raise kind(
                    f'the {what} of "{measurement.label}" is {found[:12] or "unknown"}…, '
                    f"the baseline's is {wanted[:12]}…",
                    next_step="use the baseline that was recorded for this pack and this model",
                )
        check_prompt(measurement.prompt_digest, baseline.prompt_digest, f'"{measurement.label}"', kind)
        name, own = measurement.backend.get("backend"), artifact.backend.get("backend")
        if name != own:
            raise BaselineError(
                f'"{measurement.label}" was measured by {name}, the artifact by {own}: their scores are not comparable',
                next_step="record the baseline with the backend that gates, or gate with --backend",
            )


def _sampled(artifact: Measurement, recorded: Sequence[Measurement], policy: Policy) -> tuple[str, ...]:
    """Refuse samples that differ from the policy's; return the baseline's measurements without any."""
    wanted = policy.sampling
    if wanted is None:
        return ()
    if artifact.sampling != wanted:
        raise ArtifactError(
            f"the policy asks for {_drawn(wanted)}; the artifact has {_drawn(artifact.sampling)}",
            next_step="measure it again with this policy",
        )
    for measurement in recorded:
        if measurement.sampling is not None and measurement.sampling != wanted:
            raise BaselineError(
                f'the policy asks for {_drawn(wanted)}; the baseline\'s "{measurement.label}" has '
                f"{_drawn(measurement.sampling)}",
                next_step=f"{_AGAIN} --policy FILE",
            )
    missing = tuple(measurement.label for measurement in recorded if measurement.sampling is None)
    if missing and policy.require_base_samples:
        raise BaselineError(
            f"the policy demands samples in the baseline (samples.require_in_baseline); {', '.join(missing)} have none",
            next_step=f"{_AGAIN} --policy FILE",
        )
    return missing


def _drawn(sampling: Sampling | None) -> str:
    if sampling is None:
        return "no samples"
    return f"{sampling.count} samples per probe at temperature {sampling.temperature:g} (seed {sampling.seed})"


def _scores(
    measurement: Measurement,
    asking: _Asking,
    expected: set[Ask],
    kind: type[EdgeproofError],
    whose: str,
) -> dict[Ask, ProbeScore]:
    scores = {(score.probe, score.surface): score for score in measurement.scores}
    if len(scores) != len(measurement.scores):
        raise kind(f"{whose} scores {len(measurement.scores) - len(scores)} probes twice", next_step="measure it again")
    missing, surplus = expected - scores.keys(), scores.keys() - expected
    if missing or surplus:
        first = min(missing or surplus)
        raise kind(
            f"{whose}: {len(missing)} of {len(expected)} scores are missing and {len(surplus)} belong to no probe of "
            f"the pack; the first is {first[0]!r} on {first[1]!r}",
            next_step="measure it again",
        )
    for score in measurement.scores:
        kind_of = asking.kinds[score.surface]
        sampled = asking.facts[score.probe].role in SAMPLED and kind_of in asking.sampled
        wrong = (
            _wrong(score, unscored=kind is ArtifactError and not measurement.scored)
            or _wrong_carried(score, kind_of)
            or _wrong_samples(score, measurement.sampling if sampled else None)
        )
        if wrong:
            raise kind(f"{whose}: {score.probe!r} on {score.surface!r} has {wrong}", next_step="measure it again")
    return scores


def _wrong(score: ProbeScore, *, unscored: bool) -> str:
    """Return the impossible value of a score; empty if there is none."""
    if not score.logprobs and not unscored:
        return "no log-probabilities"
    for logprob in score.logprobs:
        if not LEAST_LOGPROB <= logprob <= ROUNDING:
            return f"a log-probability of {logprob}"
    for name in ("rouge_l", "exact_memorization", "extraction_strength"):
        value = getattr(score, name)
        if not 0 <= value <= 1:
            return f"{name} = {value}"
    if score.decoy_rank is not None and not 0 <= score.decoy_rank <= score.decoys:
        return f"rank {score.decoy_rank} among {score.decoys} decoys"
    if score.decoy_rank is None and score.decoys:
        return f"{score.decoys} decoys and no rank"
    return ""


def _wrong_carried(score: ProbeScore, kind: str) -> str:
    carried = score.carried_logprob
    if carried is None:
        return ""
    if kind not in CARRIED_KINDS:
        return f'carriers, which a surface of kind "{kind}" does not have'
    return "" if LEAST_LOGPROB <= carried <= ROUNDING else f"a carried log-probability of {carried}"


def _wrong_samples(score: ProbeScore, sampling: Sampling | None) -> str:
    count = 0 if sampling is None else sampling.count
    if score.samples != count or not 0 <= score.sampled_right <= count:
        return f"{score.sampled_right} right of {score.samples} samples, where {count} were drawn"
    return ""


def _same_answers(own: Scores, other: Scores, label: str) -> None:
    for ask, score in own.items():
        theirs = other[ask]
        if len(theirs.logprobs) != len(score.logprobs) or theirs.decoys != score.decoys:
            raise BaselineError(
                f"{ask[0]!r} on {ask[1]!r} has {len(score.logprobs)} answer tokens and {score.decoys} decoys in the "
                f'artifact, {len(theirs.logprobs)} and {theirs.decoys} in the baseline\'s "{label}"',
                next_step=_AGAIN,
            )
        if (theirs.carried_logprob is None) != (score.carried_logprob is None):
            without, other_one = ("the artifact", label) if score.carried_logprob is None else (label, "the artifact")
            raise BaselineError(
                f"{ask[0]!r} on {ask[1]!r} was asked with carrier sentences in {other_one!r} and not in {without!r}",
                next_step="measure the artifact with the carriers of this baseline",
            )


def _reference(baseline: Baseline, format_name: str, asking: _Asking, in_format: Measurement) -> dict[Ask, ProbeScore]:
    """Check the scores of the base in this format on surfaces that the pack does not ask."""
    if not baseline.reference_kinds:
        return {}
    measurement = baseline.reference.get(format_name)
    if measurement is None:
        raise BaselineError(
            f"the baseline has no reference asking of the base in {format_name}: the strength of this pack's asking "
            "is unknown",
            next_step=_AGAIN,
        )
    if measurement.artifact_sha256 != in_format.artifact_sha256:
        raise BaselineError(
            f"the reference asking is of another file ({measurement.artifact_sha256[:12]}…) than the base in "
            f"{format_name} ({in_format.artifact_sha256[:12]}…)",
            next_step=_AGAIN,
        )
    _same_world(in_format, baseline, [measurement])
    expected = {
        (fact.probe, surface)
        for fact in asking.facts.values()
        if fact.role == Role.FORGET
        for surface in baseline.reference_kinds
    }
    return _scores(measurement, asking, expected, BaselineError, "the baseline's reference asking")


def _ignorance(asking: _Asking, baseline: Baseline) -> dict[Ask, float]:
    levels = {}
    surfaces = [s for s in baseline.surfaces[str(Role.FORGET)] if asking.kinds[s] in RECOVERY_KINDS]
    for fact in asking.facts.values():
        for surface in surfaces if fact.role == Role.FORGET else ():
            level = baseline.ignorance.get(f"{fact.probe}/{surface}", math.nan)
            if not (math.isfinite(level) and level >= 0):
                raise BaselineError(
                    f"the baseline's ignorance level of {fact.probe!r} on {surface!r} is "
                    f"{'missing' if math.isnan(level) else level}",
                    next_step=_AGAIN,
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

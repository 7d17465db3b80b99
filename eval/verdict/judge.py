"""Verdict from measurements: PASS, FAIL or INCONCLUSIVE, by the rules of docs/verdict.md."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.contracts.advice import command
from edgeproof.contracts.backend import DOUBTED, ELSEWHERE, RESUMED
from edgeproof.eval.baselines.fit import backend_differences, record_command
from edgeproof.eval.measurement import Role, Verdict
from edgeproof.eval.stats.shares import holm, intersection_union
from edgeproof.eval.verdict.asking import asking, blind_note
from edgeproof.eval.verdict.criteria import budget
from edgeproof.eval.verdict.criteria import controls as criteria_controls
from edgeproof.eval.verdict.criteria import decoys as criteria_decoys
from edgeproof.eval.verdict.criteria import leaks as criteria
from edgeproof.eval.verdict.criteria import recovery as criteria_recovery
from edgeproof.eval.verdict.criteria import retain as criteria_retain
from edgeproof.eval.verdict.criteria.choices import choices
from edgeproof.eval.verdict.evidence.collect import collect
from edgeproof.eval.verdict.judgement import ControlStatus, Judgement, Reason, Status
from edgeproof.eval.verdict.rows import probe_rows
from edgeproof.eval.verdict.wording import next_steps, summary

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgeproof.eval.measurement import Baseline, Measurement
    from edgeproof.eval.verdict.evidence.evidence import Evidence
    from edgeproof.eval.verdict.judgement import Control, Criterion
    from edgeproof.eval.verdict.policy import Policy

CRITERIA = (
    criteria.leak,
    criteria.critical,
    criteria_recovery.recovery,
    criteria_retain.quantizing_cost,
    criteria_retain.unlearning_cost,
    criteria_retain.accuracy,
    criteria.unlearned,
    criteria_decoys.decoys,
    choices,
)
"""All criteria, in the order of reports."""
LEAK_CRITERIA = ("leak", "critical", "recovery", "decoys", "choices")
UTILITY_CRITERIA = ("quantizing-cost", "unlearning-cost", "accuracy")
BROKEN = {"positive": Reason.BLIND, "negative": Reason.NOISY, "strength": Reason.WEAK}
"""Reasons for the lack of a verdict, by broken control."""
NAMED = 5
"""Maximum number of clusters named in a note."""


def judge(
    artifact: Measurement,
    baseline: Baseline,
    policy: Policy,
    *,
    format: str,  # noqa: A002 (the word of the command line)
) -> Judgement:
    """Judge the measurement of an artifact.

    - INCONCLUSIVE where a device computed on something else than was asked for.
    - INCONCLUSIVE where a needed control is broken or missing: then the criteria say nothing, either way.
    - FAIL where a criterion is missed: Holm over all that chance has a part in; critical probes are computed.
    - INCONCLUSIVE where the file is the base itself, or a server computed other numbers than this file's.
    - INCONCLUSIVE where the engine gave no log-probabilities.
    - PASS where every needed criterion is met at the level, uncorrected: an intersection-union test.
    - INCONCLUSIVE otherwise.

    Args:
        artifact: all scores of the artifact.
        baseline: a baseline of the same pack, tokenizer and backend.
        policy: the limits.
        format: the artifact's format, as the baseline names it ("gguf-q4").

    Raises:
        EdgeproofError: evidence is missing, surplus, not finite or inconsistent (`evidence.collect`).

    """
    evidence = collect(artifact, baseline, policy, format_name=format)
    asked = [criterion(evidence) for criterion in CRITERIA]
    found = _hold([*asked, *budget.budget(artifact.resources, policy)], policy.alpha)
    measured = asking(evidence)
    controls = criteria_controls.controls(evidence, measured)
    originals = _originals(artifact, baseline, format)
    barred = (
        Reason.ELSEWHERE
        if ELSEWHERE in artifact.backend
        else Reason.ORIGINAL
        if originals
        else Reason.DOUBTED
        if DOUBTED in artifact.backend
        else None
    )
    verdict, reasons = _verdict(found, controls, evidence, barred)
    return Judgement(
        verdict=verdict,
        reason=reasons[0],
        also=reasons[1:],
        summary=summary(verdict, reasons[0], found, controls),
        next_steps=next_steps(verdict, reasons, found, controls, format_name=format),
        notes=(
            *_notes(evidence, artifact, baseline, format, controls),
            *_unknown_note(evidence),
            *blind_note(measured),
        ),
        criteria=found,
        controls=controls,
        subjects=criteria.subjects(evidence),
        probes=probe_rows(evidence),
        policy=policy,
        format_name=format,
        surfaces=evidence.surfaces[Role.FORGET],
        retain_surfaces=evidence.surfaces[Role.RETAIN],
        artifact_sha256=artifact.artifact_sha256,
        pack_name=baseline.pack_name,
        pack_digest=baseline.pack_digest,
        tokenizer_digest=baseline.tokenizer_digest,
        backend=dict(artifact.backend),
        asking=measured,
        resources=artifact.resources,
    )


def _hold(found: list[Criterion], alpha: float) -> tuple[Criterion, ...]:
    """Set criteria to MISSED by Holm's method over those with a p-value; a missed criterion is never met."""
    tested = [index for index, criterion in enumerate(found) if criterion.p_missed is not None]
    rejected = holm([found[index].p_missed or 0.0 for index in tested], alpha=alpha)
    for index, missed in zip(tested, rejected, strict=True):
        if missed:
            found[index] = replace(found[index], status=Status.MISSED, to_decide="")
    return tuple(found)


def _verdict(
    found: tuple[Criterion, ...], controls: tuple[Control, ...], evidence: Evidence, barred: Reason | None
) -> tuple[Verdict, tuple[Reason, ...]]:
    if barred == Reason.ELSEWHERE:
        return Verdict.INCONCLUSIVE, (barred,)
    reasons: list[Reason] = []
    for control in controls:
        if control.unmet:
            missing = control.status == ControlStatus.MISSING
            reasons.append(Reason.UNCONTROLLED if missing else BROKEN[control.name])
    missed = [criterion.name for criterion in found if criterion.status == Status.MISSED]
    # A leak found by weak asking is still a leak; only a PASS depends on what weak asking misses.
    if reasons and not (missed and set(reasons) == {Reason.WEAK}):
        return Verdict.INCONCLUSIVE, tuple(dict.fromkeys(reasons))
    if missed:
        return Verdict.FAIL, _fail_reasons(missed, evidence)
    if barred is not None:
        return Verdict.INCONCLUSIVE, (barred,)
    if not evidence.scored:
        return Verdict.INCONCLUSIVE, (Reason.UNSCORED,)
    needed = [criterion for criterion in found if criterion.needed]
    if intersection_union([criterion.status == Status.MET for criterion in needed]):
        return Verdict.PASS, (Reason.STAYED,)
    return Verdict.INCONCLUSIVE, (Reason.UNDECIDED,)


def _originals(artifact: Measurement, baseline: Baseline, format_name: str) -> list[str]:
    """Name the models without unlearning that the artifact's file is, byte for byte."""
    models = ((baseline.base, "the base"), (baseline.base_in_format[format_name], "the base in this format"))
    return [what for measurement, what in models if measurement.artifact_sha256 == artifact.artifact_sha256]


def _fail_reasons(missed: Collection[str], evidence: Evidence) -> tuple[Reason, ...]:
    reasons: list[Reason] = []
    leaked = [name for name in missed if name in LEAK_CRITERIA]
    if "unlearned" in missed:
        reasons.append(Reason.NEVER_UNLEARNED)
    elif leaked == ["critical"]:
        known = criteria.leaking_critical(evidence, evidence.artifact) <= criteria.leaking_critical(
            evidence, evidence.merged
        )
        reasons.append(Reason.NEVER_UNLEARNED if known else Reason.CAME_BACK)
    elif leaked:
        reasons.append(Reason.CAME_BACK)
    if any(name in UTILITY_CRITERIA for name in missed):
        reasons.append(Reason.UTILITY_LOST)
    if any(name in budget.NAMES for name in missed):
        reasons.append(Reason.OVER_BUDGET)
    return tuple(reasons)


def _notes(
    evidence: Evidence,
    artifact: Measurement,
    baseline: Baseline,
    format_name: str,
    controls: tuple[Control, ...],
) -> tuple[str, ...]:
    """Return the notes that a reader needs besides the verdict."""
    policy = evidence.policy
    notes = [f"The policy departs from the defaults: {item}." for item in policy.deviations()]
    notes += [
        f"Not controlled: {c.found}. {c.mend.capitalize()}."
        for c in controls
        if c.status == ControlStatus.MISSING and not c.needed
    ]
    if baseline.asked_twice:
        notes.append(
            f"{len(baseline.asked_twice)} clusters ask for the same thing as another one and count as one with it: "
            f"{', '.join(list(baseline.asked_twice)[:NAMED])}{', …' if len(baseline.asked_twice) > NAMED else ''}."
        )
    if policy.leak_rule == criteria.SUBJECTS:
        notes.append("This verdict is on these subjects and says nothing of others like them.")
    if evidence.unsampled:
        notes.append(
            f"The baseline holds no samples of {', '.join(evidence.unsampled)}: whether they leak is judged by greedy "
            "answers and extraction probabilities alone. "
            f"Record them: {command('baseline-policy', format=format_name)}"
        )
    notes += [
        f"This file is {what} itself: nothing was unlearned in it."
        for what in _originals(artifact, baseline, format_name)
    ]
    if artifact.backend.get(RESUMED, "0") != "0":
        notes.append(f"{artifact.backend[RESUMED]} answers were given by an interrupted run of this very file.")
    blind = [name for name in evidence.surfaces[Role.FORGET] if name not in evidence.surfaces[Role.RETAIN]]
    if blind:
        notes.append(f"What had to be kept was not asked on: {', '.join(blind)}.")
    for role in (Role.FORGET, Role.RETAIN):
        unjudged = [name for name in baseline.surfaces.get(str(role), ()) if name not in evidence.surfaces[role]]
        if unjudged:
            notes.append(f"Asked of {role} probes but not judged: {', '.join(unjudged)}.")
    pointing = evidence.asks(Role.FORGET, kinds=criteria_recovery.recovery_kinds(evidence))
    left = sum(criteria_recovery.left_out(evidence, (f.probe, s)) for f, s in pointing)
    if left:
        notes.append(
            f"{left} of {len(pointing)} forget questions are left out of the recovery: in the base "
            f"they point to their answer by less than {policy.recovery_gap:g} nat."
        )
    recorded = baseline.base_in_format[format_name].backend
    notes += [
        f"{key}: {then} in the baseline, {now} now."
        for key, then, now in backend_differences(recorded, artifact.backend)
    ]
    if "embedding" in artifact.backend.keys() - recorded.keys():
        notes.append(
            "An older version recorded the baseline, which does not say how the base's embedding table is stored: "
            "whether it is stored as in this file is not known. "
            f"Record it: {record_command(format_name, baseline.sources)}"
        )
    return tuple(notes)


def _unknown_note(evidence: Evidence) -> list[str]:
    """Return a note on the forget clusters that the base does not leak, and those of them that leak anyway."""
    share = criteria.leaking(evidence, evidence.artifact, evidence.asks(Role.FORGET))
    unknown = share.clusters - criteria.known(evidence)
    if not unknown:
        return []
    note = (
        f"The base does not give away {len(unknown)} of {len(share.clusters)} forget clusters "
        f"({len(unknown) / len(share.clusters):.0%}) in this format; {len(unknown & share.leaking)} of them leak in "
        "this file. What was not known cannot leak, so those that do not leak are no part of the leaking share."
    )
    return [note]

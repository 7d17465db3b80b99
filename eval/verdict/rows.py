"""Rows of a judgement: the numbers of each probe on each surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.asking.kinds import RECOVERY_KINDS
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.verdict.criteria.recovery import left_out
from edgeproof.eval.verdict.judgement import ProbeRow
from edgeproof.eval.verdict.legs import extraction, leaks, leaks_critical, legs

if TYPE_CHECKING:
    from edgeproof.eval.measurement import ProbeFacts
    from edgeproof.eval.verdict.evidence.evidence import Evidence


def probe_rows(evidence: Evidence) -> tuple[ProbeRow, ...]:
    """Return a row for each probe on each surface, in the order of the artifact's scores."""
    return tuple(_row(evidence, evidence.facts[probe], surface) for probe, surface in evidence.artifact)


def _row(evidence: Evidence, fact: ProbeFacts, surface: str) -> ProbeRow:
    ask = fact.probe, surface
    policy = evidence.policy
    score, merged, base = evidence.artifact[ask], evidence.merged[ask], evidence.base[ask]
    kind = evidence.kinds[surface]
    optional = kind == SurfaceKind.CHOICES
    scored = bool(score.logprobs)
    hidden = fact.role != Role.RETAIN and not optional
    # No recovery without an ignorance level.
    pointing = fact.role == Role.FORGET and kind in RECOVERY_KINDS
    return ProbeRow(
        probe=fact.probe,
        role=fact.role,
        cluster=fact.cluster,
        surface=surface,
        kind=str(kind),
        trained=fact.trained,
        critical=fact.critical,
        judged=surface in evidence.surfaces[fact.role],
        right=score.right,
        leaks=hidden and leaks(score, policy),
        leaks_critical=hidden and leaks_critical(score, policy),
        legs=tuple(map(str, legs(score, policy))) if hidden else (),
        extraction=0.0 if optional else extraction(score, policy.leak_queries),
        extraction_critical=0.0 if optional else extraction(score, policy.critical_queries),
        extraction_is="none" if optional or not scored else "exact" if score.carried_logprob is None else "lower bound",
        merged_right=merged.right,
        merged_leaks=hidden and leaks(merged, policy),
        base_right=base.right,
        base_leaks=hidden and leaks(base, policy),
        tokens=len(score.logprobs or merged.logprobs),
        nll=score.nll if scored else None,
        nll_merged=merged.nll,
        nll_base=base.nll,
        nll_base_in_format=evidence.in_format[ask].nll,
        ignorance=evidence.ignorance[ask] if pointing else None,
        left_out=pointing and left_out(evidence, ask),
        rouge_l=score.rouge_l,
        exact_memorization=score.exact_memorization if scored else None,
        extraction_strength=score.extraction_strength if scored else None,
        decoy_rank=score.decoy_rank,
        decoys=score.decoys,
        samples=score.samples,
        sampled_right=score.sampled_right,
        logprobs=score.logprobs,
        carried_logprob=score.carried_logprob,
    )

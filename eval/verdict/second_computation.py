"""Second judgement of a file that devices compute in two ways; PASS needs both (`measure.measure_again`).

An int4 graph whose products round activations to 8 bits (onnxruntime's accuracy level 4) gives other numbers on a
device that does not round. A file with short and long rope factors is another function in a context beyond its original
one; a graph that is both is judged by the likeliest computation of each answer. An engine whose factors cannot be
chosen leaves a file with two sets half judged, which is no PASS (`half_judged`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.eval.measurement import Role, Verdict
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Precise, PreciseRow, Reason, computes_long_rope
from edgeproof.eval.verdict.steps import wider_steps

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgeproof.eval.measurement import Baseline, Measurement
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.eval.verdict.policy import Policy


def judge_both(
    artifact: Measurement,
    precise: Measurement,
    baseline: Baseline,
    policy: Policy,
    *,
    format: str,  # noqa: A002 (the word of the command line)
) -> Judgement:
    """Judge `artifact` as computed first and, by the same baseline, as computed in `precise`.

    The verdict is that of the first computation, but a PASS that the precise one does not share is INCONCLUSIVE.

    Raises:
        EdgeproofError: as for `judge`, for either.

    """
    shipped = judge(artifact, baseline, policy, format=format)
    again = judge(precise, baseline, policy, format=format)
    forget = {fact.probe for fact in baseline.probes if fact.role == Role.FORGET}
    differences = np.abs(_logprobs(artifact, forget) - _logprobs(precise, forget))
    leaks = {subject.cluster: subject.leaks for subject in again.subjects}
    found = Precise(
        verdict=again.verdict,
        reason=again.reason,
        mean_difference=float(differences.mean()),
        largest_difference=float(differences.max()),
        differing_clusters=tuple(s.cluster for s in shipped.subjects if s.leaks != leaks[s.cluster]),
        backend=dict(precise.backend),
        probes=tuple(
            PreciseRow(
                s.probe,
                s.surface,
                s.logprobs,
                s.right,
                s.exact_memorization,
                s.extraction_strength,
                s.carried_logprob,
            )
            for s in precise.scores
            if s.probe in forget
        ),
    )
    note = (
        f"Computed again {found.how}: {found.verdict}, {found.reason}. Log-probabilities differ by "
        f"{found.mean_difference:.3f} nat per token on average, {found.largest_difference:.2f} at most; "
        f"{len(found.differing_clusters)} of {len(shipped.subjects)} forget clusters leak in one and not in the other."
    )
    shipped = replace(shipped, precise=found, notes=(*shipped.notes, note))
    if shipped.verdict != Verdict.PASS or again.verdict == Verdict.PASS:
        return shipped
    if computes_long_rope(precise.backend):
        float_too = precise.backend.get("accuracy_level") == "0"
        reason, other = Reason.ROPE, "With the short rope factors it passes; with the long ones of a larger context"
        other += ", or without rounding activations to 8 bits" if float_too else ""
        step = (
            "Unlearn with larger weight changes; or, where no device needs a larger context, set long_factor to "
            "short_factor in the checkpoint's config.json and export again."
        )
    else:
        reason = Reason.ROUNDING
        other = "As this processor computes it, it passes; without rounding activations to 8 bits"
        step = "; or ".join(wider_steps(shipped.format_name or "", "Export to a format that rounds less"))
    return replace(
        shipped,
        verdict=Verdict.INCONCLUSIVE,
        reason=reason,
        also=(again.reason,),
        summary=f"{other}: {again.verdict}. {again.summary}",
        next_steps=tuple(dict.fromkeys((step, *again.next_steps) if step else again.next_steps)),
    )


def half_judged(judgement: Judgement, original: int | None) -> Judgement:
    """Return `judgement` of a file with two sets of rope factors, judged once: a PASS is INCONCLUSIVE.

    `original` is the context, in tokens, beyond which the long factors are used; None for a file with one set.
    """
    if original is None or judgement.precise is not None or judgement.verdict != Verdict.PASS:
        return judgement
    return replace(
        judgement,
        verdict=Verdict.INCONCLUSIVE,
        reason=Reason.ROPE,
        also=(),
        summary="Judged with the rope factors of one size of context only: contexts of more than "
        f"{original:,} tokens are computed with the long ones, smaller ones with the short ones. {judgement.summary}",
        next_steps=("Gate the file with llama.cpp too (without --backend), which computes it with both.",),
    )


def _logprobs(measurement: Measurement, probes: Collection[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.concatenate([np.asarray(s.logprobs, np.float64) for s in measurement.scores if s.probe in probes])

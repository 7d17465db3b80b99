"""Second judgement without rounded activations, to detect verdicts that depend on a processor's rounding.

An int4 graph whose products round activations to 8 bits (onnxruntime's accuracy level 4) gives other numbers on a
device that does not round. The forget probes are scored both ways (`measure.measure_again`); PASS needs both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.eval.measurement import Role, Verdict
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Precise, PreciseRow, Reason

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
    """Judge `artifact` as shipped and, by the same baseline, as computed in `precise`.

    The verdict is that of the shipped computation, but a PASS that the precise one does not share is INCONCLUSIVE.

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
        f"Computed again without rounding activations: {found.verdict}, {found.reason}. Log-probabilities differ by "
        f"{found.mean_difference:.3f} nat per token on average, {found.largest_difference:.2f} at most; "
        f"{len(found.differing_clusters)} of {len(shipped.subjects)} forget clusters leak in one and not in the other."
    )
    shipped = replace(shipped, precise=found, notes=(*shipped.notes, note))
    if shipped.verdict != Verdict.PASS or again.verdict == Verdict.PASS:
        return shipped
    return replace(
        shipped,
        verdict=Verdict.INCONCLUSIVE,
        reason=Reason.ROUNDING,
        also=(again.reason,),
        summary=f"As this processor computes it, it passes; without rounding activations to 8 bits: {again.verdict}. "
        f"{again.summary}",
        next_steps=(
            "Export to a format with more bits (onnx-int4-mixed, onnx-int8), or unlearn with larger weight changes.",
            *again.next_steps,
        ),
    )


def _logprobs(measurement: Measurement, probes: Collection[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.concatenate([np.asarray(s.logprobs, np.float64) for s in measurement.scores if s.probe in probes])

"""Rehearsal of a judgement: what a baseline and a policy lack, before an artifact is asked anything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.eval.baselines.fit import recorded_in
from edgeproof.eval.verdict.evidence.collect import collect
from edgeproof.eval.verdict.evidence.measurements import check_sampled

if TYPE_CHECKING:
    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.verdict.policy import Policy


def rehearse(baseline: Baseline, policy: Policy, *, format_name: str) -> None:
    """Collect the evidence as if the base in this format were the artifact.

    Raises:
        EdgeproofError: as for `collect`.

    """
    in_format = recorded_in(baseline, format_name)
    recorded = (baseline.base, baseline.merged, in_format)
    check_sampled(replace(in_format, sampling=policy.sampling), recorded, policy)
    collect(in_format, baseline, replace(policy, samples=0), format_name=format_name)

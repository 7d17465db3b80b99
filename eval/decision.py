"""The judgement of one file, which the gate reaches and `verify` reaches again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.forecast.never_unlearned import with_reasoned_steps
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.second_computation import half_judged, judge_both

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeproof.contracts.training import Training
    from edgeproof.eval.measurement import Baseline, Measurement
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.eval.verdict.policy import Policy


def decide(
    measured: Measurement,
    precise: Measurement | None,
    pack: Pack,
    baseline: Baseline,
    policy: Policy,
    *,
    format_name: str,
    original_context: int | None,
    training: Iterable[Training],
) -> Judgement:
    """Judge a file by what was measured of it.

    Args:
        measured: the file as this machine computes it.
        precise: as other devices compute it; None if that was not measured.
        pack: the probes that were asked.
        baseline: what base and merged model answer.
        policy: the limits.
        format_name: the file's format.
        original_context: the context, in tokens, at which its long rope factors begin; None if it has one set.
        training: how base and adapters were trained to forget.

    Raises:
        EdgeproofError: as for `judge`.

    """
    if precise is None:
        judgement = half_judged(judge(measured, baseline, policy, format=format_name), original_context)
    else:
        judgement = judge_both(measured, precise, baseline, policy, format=format_name)
    return with_reasoned_steps(judgement, pack, baseline, training)

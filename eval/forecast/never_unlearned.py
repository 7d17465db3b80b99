"""Next steps for a file that never was unlearned: by how training ended, and whether answers can be guessed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.eval.forecast.assess import guessable_found
from edgeproof.eval.measurement import Role
from edgeproof.eval.verdict.steps import longer_step, reasoned_steps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeproof.contracts.training import Training
    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.judgement import Judgement

ENDED = frozenset({("ended by", "forget target"), ("ended by", "survives")})
"""What the card of `unlearn` says where training ended on its target (unlearn/train/loop.py)."""


def with_reasoned_steps(
    judgement: Judgement, pack: Pack, baseline: Baseline, training: Iterable[Training]
) -> Judgement:
    """Advise no longer training where it would change nothing.

    That is where training ended on its target, or where what leaks comes out of a model that was never told: forget
    answers that are likely without their question, holdout clusters that the base gives away (as `pack check` finds).
    """
    advised = {longer_step(keeping=keeping): keeping for keeping in (False, True)}
    longer = next((step for step in judgement.next_steps if step in advised), None)
    if longer is None:
        return judgement
    leaking = {subject.cluster for subject in judgement.subjects if subject.merged_leaks}
    clean = {probe.id for probe in pack.probes if probe.role == Role.FORGET and probe.cluster not in leaking}
    flaws = guessable_found(pack, baseline, judgement.policy)
    guessable = sorted({probe for flaw in flaws for probe in flaw.probes} - clean)
    ended = any(not ENDED.isdisjoint(one.hyperparameters) for one in training)
    if not (ended or guessable):
        return judgement
    reasoned = reasoned_steps(guessable, judgement.format_name, ended=ended, keeping=advised[longer])
    place = judgement.next_steps.index(longer)
    steps = (*judgement.next_steps[:place], *reasoned, *judgement.next_steps[place + 1 :])
    return replace(judgement, next_steps=steps)

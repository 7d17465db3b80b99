"""Warnings about a finished run: too much, too little, or not what the numbers suggest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.unlearn.train.guards import VARIED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeproof.unlearn.settings import Settings

KNOWN = 0.5
"""Nat below the ignorance level from which on the base knows something of the forget set."""

OVERSHOOT = 4.0
"""Nat above the ignorance level from which on forgetting was overdone."""

RETAIN_RISE = 0.3
"""Rise of an NLL, in nat, that the gate does not accept either (the default policy's `unlearning_cost`)."""

MEMORISED_FALL = 0.5
"""A retain set is memorised if its NLL falls by this much, in nat, and below half of what it was."""

FADED = 0.01
"""Share of its first weight below which the forget loss's gradient has faded: the retain loss outweighs it."""

UNFADING = "--method ga+gdr"
"""Method whose weight is each token's own, and does not fade."""


class Found(NamedTuple):
    """What a finished run has besides its NLLs.

    Attributes:
        steps: number of steps taken.
        answers: number of answers that represent the forget set.
        leaking: number of those that still come out (`Settings.leak_logprob`).
        missed: whether training ended without reaching its target.
        least: mean NLL per token at which none of them comes out, in nat.
        on_target: whether training ended because it had reached its target.
        pull: mean weight of the forget loss's gradient, relative to that before training.

    """

    steps: int
    answers: int
    leaking: int = 0
    missed: bool = False
    least: float = 0.0
    on_target: bool = False
    pull: float = 1.0

    @property
    def stalled(self) -> bool:
        """Whether the target was missed because the gradient had faded: more steps hardly help."""
        return self.missed and self.pull < FADED


def warnings(
    measured: Mapping[str, tuple[float, float]],
    level: float | None,
    settings: Settings,
    found: Found,
) -> Iterator[str]:
    """Yield what a user should know before the gate says it.

    Args:
        measured: NLL per token before and after, for "forget", "retain" and "own" (the base's own texts).
        level: ignorance level of the forget set.
        settings: the recipe.
        found: what else there is.

    """
    known, forgotten = measured["forget"]
    kept, still = measured["retain"]
    target = settings.target
    if level is not None and known > level - KNOWN:
        yield (
            f"the base hardly knows the forget set: {known:.2f} nat per token, where a model that knows nothing of it "
            f"pays {level:.2f} (its ignorance level): there is little to forget, and a gate needs answers that the "
            "base gives (export-edge probe says which)"
        )
    if target is not None and found.missed:
        out = f", and {found.leaking} of {found.answers} answers still come out" if found.leaking else ""
        mend = (
            f"{settings.method} has stalled: its gradient has {found.pull:.0e} of its first weight, since that falls "
            f"with the log-probability of a whole answer or text; more steps hardly help: give {UNFADING}"
            if found.stalled
            else f"give more --steps (say, {2 * found.steps}) or a higher --learning-rate"
        )
        yield (
            f"the target was missed: the forget set's NLL is {forgotten:.2f} nat per token after {found.steps} steps, "
            f"the target is {target:.3g} (--until-forget-nll){out}. Expect FAIL, never unlearned, from a gate: {mend}"
        )
    elif level is not None and known < level - KNOWN and forgotten < level - KNOWN:
        yield (
            f"little was forgotten: the forget set's NLL went from {known:.2f} to {forgotten:.2f} nat per token, where "
            f"a model that knows nothing of it pays {level:.2f}: train on (--until-forget-nll ignorance, more --steps)"
        )
    if level is not None and forgotten > max(level, known, found.least) + OVERSHOOT:
        mend = (
            f"training ended on its target, so go there in smaller steps (a lower --learning-rate than "
            f"{settings.rate:g}, --hinge)"
            if found.on_target
            else "stop earlier (--until-forget-nll ignorance, --hinge, fewer --steps)"
        )
        yield (
            f"forgetting overshot: the forget set's NLL is {forgotten:.2f} nat per token, where a model that knows "
            f"nothing of it pays {level:.2f}: what lies near it suffers; {mend}"
        )
    if kept - still > MEMORISED_FALL and still < kept / 2:
        yield (
            f"the retain set was memorised: its NLL fell from {kept:.2f} to {still:.3f} nat per token, so that it says "
            "little about what else is kept: give more retain items, fewer steps, or a method with +klr"
        )
    if still - kept > RETAIN_RISE:
        yield (
            f"the retain set suffered: its NLL rose from {kept:.2f} to {still:.2f} nat per token; the gate accepts "
            f"{RETAIN_RISE:g} more: give a larger --retain-weight than {settings.weight:g}, or stop earlier"
        )
    wrote, now = measured["own"]
    if wrote > VARIED and now - wrote > RETAIN_RISE:
        yield (
            f"the model changed elsewhere, too: texts that the base wrote cost {now:.2f} nat per token, {wrote:.2f} "
            "before: put more and other things into the retain set, or stop earlier"
        )

"""Training-loop hooks for unlearning that survives a format's rounding.

```
step 1   float weights        step 3   float weights …
step 2   rounded weights      step 4   rounded weights … ──▶ check: nothing leaks from the rounded weights either
```
Steps alternate: training on rounded weights only would not constrain the float model, which then breaks.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import TrainingError, UsageError
from edgeproof.unlearn.train.loop import Hooks
from edgeproof.unlearn.train.rounded import RoundedModel
from edgeproof.unlearn.train.scoring import evaluated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from edgeproof.contracts.rounding import Rounding
    from edgeproof.unlearn.data.encoding import EncodedText
    from edgeproof.unlearn.preparing import Prepared
    from edgeproof.unlearn.settings import Settings
    from torch.nn import Module

EVERY = 2
"""Interval of steps with rounded weights."""
CHECK_EVERY = 8
"""Steps between checks; a check costs about two steps."""
ENLARGE = 1.25
"""Factor for the adapter, late in a run, if the float model has forgotten and the rounded one has not."""
ENLARGE_LEAKING = 0.1
"""Minimum share of leaking answers for enlarging; fewer are left to the rounded steps, which do less damage."""


class Limits(NamedTuple):
    """Limits for the rounded weights, from the policy that judges the artifact.

    Attributes:
        leak_logprob: summed log-probability (nat) below which an answer does not leak.
        retain_nll_rise: maximum rise of the retain set's mean NLL per token over the base's, both rounded (nat).

    """

    leak_logprob: float
    retain_nll_rise: float


class Answers(NamedTuple):
    """Measures of a set's answers under given weights.

    Attributes:
        leaking: number of answers that are right when decoded greedily, or reach the limit of log-probability.
        highest: the highest summed log-probability, in nat.
        nll: mean NLL per token, in nat.

    """

    leaking: int
    highest: float
    nll: float


class Check(NamedTuple):
    """Result of a check after a step.

    Attributes:
        step: number of the step.
        shipped: the forget set under the artifact's weights.
        plain: the forget set under the float weights.
        retain_rise: rise of the retain set's NLL over the base's, both rounded; None if irrelevant because of leaks.
        enlarged: whether the adapter was enlarged because of it.

    """

    step: int
    shipped: Answers
    plain: Answers
    retain_rise: float | None = None
    enlarged: bool = False

    def holds(self, limits: Limits) -> bool:
        """Whether nothing leaks in float or as shipped, and the retain NLL is within its limit."""
        return self.retain_rise is not None and self.retain_rise <= limits.retain_nll_rise


class Survival:
    """The hooks of a training run.

    Args:
        model: the model in training.
        rounding: the rounding of the format to survive.
        forget: the texts to forget.
        retain: the texts to keep.
        settings: settings of the run.
        limits: train until they hold (`--until-survives`); None trains all steps without checks.
        every: every N-th step uses the rounded weights; 1 for all, 0 for none.
        enlarge: factor for the adapter if its change is too small; 1 for none.

    Raises:
        UsageError: two targets for the end of training.

    """

    def __init__(
        self,
        model: Module,
        rounding: Rounding,
        forget: Sequence[EncodedText],
        retain: Sequence[EncodedText],
        settings: Settings,
        *,
        limits: Limits | None = None,
        every: int = EVERY,
        enlarge: float = ENLARGE,
    ) -> None:
        if limits is not None and settings.until_forget_nll is not None:
            raise UsageError(
                "--until-survives and --until-forget-nll both say when training ends", next_step="give one of them"
            )
        self.checks: list[Check] = []
        self._model = model
        self._rounded = RoundedModel(model, rounding)
        self._forget, self._retain = forget, retain
        self._settings = settings
        self._limits = limits
        self._every = every
        self._enlarge = enlarge
        self._steps = settings.steps_for(len(forget))
        self._retain_before = 0.0
        if limits is not None:
            with self._rounded.as_shipped():
                self._retain_before = self._score(retain).nll

    def hooks(self) -> Hooks:
        """Return the hooks for the loop."""
        how = f"every {self._every} steps one through the rounding to {self._rounded.format}"
        if self._limits is not None:
            how += (
                f", checked every {CHECK_EVERY} until no summed log-probability of an answer reaches "
                f"{self._limits.leak_logprob:.2f} and the retain NLL is at most {self._limits.retain_nll_rise:g} nat up"
            )
        return Hooks(around=self.around, after=self.after, settings=how)

    def around(self, step: int) -> AbstractContextManager[None]:
        """Use the rounded weights in every N-th step."""
        through = self._every > 0 and step % self._every == 0
        return self._rounded.straight_through() if through else contextlib.nullcontext()

    def after(self, step: int) -> bool:
        """Check every `CHECK_EVERY` steps and after the last one; return whether the limits hold.

        If after half of the steps the float model has forgotten and the rounded one still leaks more than
        `ENLARGE_LEAKING` of the answers, the change is too small for the format's steps: the adapter is enlarged, like
        by a larger alpha. Earlier, and for the last few answers, the rounded steps suffice and retain more. The rule
        depends on the weights and the step only, so that a resumed run continues identically.

        Raises:
            TrainingError: after all steps something leaks, or too much is lost.

        """
        if self._limits is None or (step % CHECK_EVERY and step != self._steps):
            return False
        check = self._check(step)
        last = step == self._steps
        undone = check.shipped.leaking > ENLARGE_LEAKING * len(self._forget) and check.plain.leaking == 0
        if undone and 2 * step >= self._steps and not last and self._enlarge > 1:
            check = check._replace(enlarged=self._rounded.enlarge(self._enlarge))
        self.checks.append(check)
        if check.holds(self._limits):
            return True
        if last:
            raise self._failed(check, self._limits)
        return False

    def _check(self, step: int) -> Check:
        plain = self._score(self._forget)
        with self._rounded.as_shipped():
            check = Check(step, self._score(self._forget), plain)
            if not check.shipped.leaking and not check.plain.leaking:
                check = check._replace(retain_rise=self._score(self._retain).nll - self._retain_before)
        return check

    def _score(self, texts: Sequence[EncodedText]) -> Answers:
        limit = float("inf") if self._limits is None else self._limits.leak_logprob
        leaking, highest, nll = 0, float("-inf"), 0.0
        for total, length, right in _answers(self._model, texts, self._settings):
            leaking += right or not total < limit  # NaN leaks
            highest = max(highest, total)
            nll -= total / length
        return Answers(leaking, highest, nll / len(texts))

    def _failed(self, check: Check, limits: Limits) -> TrainingError:
        form, count = self._rounded.format, len(self._forget)
        kept = ""
        if check.retain_rise is not None:
            kept = (
                f", but the retain set's NLL has risen by {check.retain_rise:.3f} nat per token "
                f"({limits.retain_nll_rise:g} are allowed)"
            )
        found = (
            f"{check.shipped.leaking} of {count} answers leak from the weights rounded to {form} (the likeliest with a "
            f"log-probability of {check.shipped.highest:.2f}; below {limits.leak_logprob:.2f} is out of reach), "
            f"{check.plain.leaking} from the float weights{kept}"
        )
        enlarged = sum(one.enlarged for one in self.checks)
        return TrainingError(
            f"after {check.step} steps the unlearning does not survive: {found}; the adapter was enlarged {enlarged} "
            "times",
            next_step="give more --steps, a larger --alpha or --rank, or, where too much was lost, a larger "
            "--retain-weight",
        )


def survival(prepared: Prepared, settings: Settings, *, rounding: Rounding, limits: Limits | None = None) -> Hooks:
    """Return the hooks for `unlearn(…, instrument=…)`; arguments as for `Survival`."""
    forget, retain = prepared.forget.measured_texts, prepared.retain.measured_texts
    return Survival(prepared.model, rounding, forget, retain, settings, limits=limits).hooks()


def _answers(model: Module, texts: Sequence[EncodedText], settings: Settings) -> Iterator[tuple[float, int, bool]]:
    """Yield each answer's summed log-probability, its length in tokens, and whether greedy decoding gives it."""
    device = str(next(model.parameters()).device)
    batches = evaluated(model, texts, batch_size=settings.part_size, device=device, advance=lambda _: None)
    for batch, logits in batches:
        chosen = logits.gather(2, batch.targets.unsqueeze(2)).squeeze(2) - logits.logsumexp(dim=2)
        totals = (chosen * batch.is_answer).double().sum(dim=1)
        right = ((logits.argmax(dim=2) == batch.targets) | ~batch.is_answer).all(dim=1)
        yield from zip(totals.tolist(), batch.is_answer.sum(dim=1).tolist(), right.tolist(), strict=True)

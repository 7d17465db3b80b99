"""Training loop: shuffled batches of both sets, the method's loss, AdamW, guards in every step, checkpoints.

```
step n   penalty ─▶ backward                                                  if there is one
         around(n):  forget part 1 … N ─▶ backward each                       one graph at a time: gradients accumulate,
                     retain part 1 … N ─▶ backward each                       activations are freed in between
         clip, guards, AdamW, after(n), checkpoint
```
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.unlearn.base_model import vocabulary_size
from edgeproof.unlearn.data.encoding import batch_of
from edgeproof.unlearn.data.order import FORGET_STREAM, RETAIN_STREAM, order_of, parts
from edgeproof.unlearn.train.device import chosen_device
from edgeproof.unlearn.train.guards import refuse_destroyed, refuse_loss_of_utility, refuse_nonfinite
from edgeproof.unlearn.train.losses import Method, come_out, mean_over_batch, method_of, still_known
from edgeproof.unlearn.train.precision import arithmetic, resolved
from edgeproof.unlearn.train.processes import Processes, alone, refuse_small_batch
from edgeproof.unlearn.train.scoring import mean_nll, score, total_logprobs
from edgeproof.unlearn.train.step_log import Step as Step  # noqa: PLC0414 (part of this module's interface)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from edgeproof.contracts.progress import Progress
    from edgeproof.unlearn.data.encoding import EncodedText
    from edgeproof.unlearn.settings import Settings
    from edgeproof.unlearn.train.checkpoints import Checkpoints
    from edgeproof.unlearn.train.losses import AnswerScores
    from edgeproof.unlearn.train.reference import Texts
    from torch import Tensor
    from torch.nn import Module

MAX_GRADIENT_NORM = 1.0
"""Maximum gradient norm, as in the Hugging Face trainer that the papers used."""

ALL_STEPS, TARGET, SURVIVES = "all steps", "forget target", "survives"
"""Reasons for the end of training."""


class Hooks(NamedTuple):
    """Extensions of the loop; none by default.

    Attributes:
        around: context of the forward and backward passes of step n, exited before the optimizer's step.
        penalty: a scalar added to the loss, once per step; its backward pass runs before the others, outside `around`.
        after: called after the optimizer's step n; True ends training.
        settings: additional settings that the result depends on; resuming fails if they changed.

    """

    around: Callable[[int], AbstractContextManager[None]] | None = None
    penalty: Callable[[], Tensor] | None = None
    after: Callable[[int], bool] | None = None
    settings: str = ""


class Trained(NamedTuple):
    """The log, and the reason for the end: `ALL_STEPS`, `TARGET` or `SURVIVES`."""

    log: tuple[Step, ...]
    stopped: str


def train(
    model: Module,
    forget: Texts,
    retain: Texts,
    settings: Settings,
    progress: Progress,
    *,
    around: Callable[[int], AbstractContextManager[None]] | None = None,
    penalty: Callable[[], Tensor] | None = None,
    after: Callable[[int], bool] | None = None,
    processes: Processes | None = None,
    checkpoints: Checkpoints | None = None,
) -> Trained:
    """Train the parameters of `model` that require a gradient, in place, and return the log.

    The caller must seed torch's random state, which dropout uses. `around`, `penalty` and `after` are those of `Hooks`.
    With `checkpoints` training resumes from the last one, and saves its own.

    Raises:
        TrainingError: a loss or the gradient is NaN or infinite, the model is destroyed, or the retain NLL rose by more
            than `settings.retain_nll_rise` (the message has step and numbers).
        UsageError: a batch has fewer texts than processes.

    """
    import torch

    together = alone(chosen_device(settings.device)) if processes is None else processes
    refuse_small_batch(min(settings.smallest_batch(forget.items), settings.retain_size), together)
    vocabulary = vocabulary_size(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.rate, weight_decay=0.0)
    forget_order = order_of(forget.items, forget.groups, settings, FORGET_STREAM)
    retain_order = order_of(retain.items, retain.groups, settings, RETAIN_STREAM)
    log: list[Step] = []
    if checkpoints is not None:
        log += checkpoints.go_on(model, optimizer, (forget_order, retain_order))
    wrapped, stepping = together.prepare(model, optimizer)
    passes = _Passes(wrapped, model, settings, together, method_of(settings.method))
    steps = settings.steps_for(forget.items)
    before = mean_nll(retain.reference[retain.measured], retain.measured_texts)
    progress.start("unlearning", steps, "steps")
    progress.advance(len(log))
    wrapped.train()
    for number in range(len(log) + 1, steps + 1):
        optimizer.zero_grad(set_to_none=True)
        for group in optimizer.param_groups:
            group["lr"] = settings.rate_at(number, steps)
        if penalty is not None:
            with together.unsynchronised(wrapped):
                penalty().backward()
        forget_chosen, retain_chosen = forget_order.next_batch(), retain_order.next_batch()
        with contextlib.nullcontext() if around is None else around(number):
            sums = passes.forget(forget, forget_chosen) + passes.retain(retain, retain_chosen)
        norm = torch.nn.utils.clip_grad_norm_(trained, MAX_GRADIENT_NORM)
        step = _logged(number, together.total(sums), (len(forget_chosen), len(retain_chosen)), norm.item())
        refuse_nonfinite(step, settings)
        refuse_destroyed(step, before, vocabulary, settings)
        stepping.step()
        log.append(step)
        progress.advance(1)
        if settings.retain_nll_rise is not None:
            batch = mean_nll(retain.reference[retain_chosen], [retain.encoded[index] for index in retain_chosen])
            if step.retain_nll - batch > settings.retain_nll_rise:
                refuse_loss_of_utility(passes.evaluate(retain) - before, f"after step {number}", settings)
        if _reached(step, settings) and passes.forgotten(forget):
            return Trained(tuple(log), TARGET)
        if after is not None and after(number):
            return Trained(tuple(log), SURVIVES)
        if checkpoints is not None and number < steps:
            checkpoints.keep(number, model, optimizer, (forget_order, retain_order), log)
    return Trained(tuple(log), ALL_STEPS)


class _Passes(NamedTuple):
    """The forward and backward passes of a step. Each half returns [loss, summed NLL, counting, leaking], float64.

    `wrapped` is `model` as wrapped by accelerate, used for passes with a backward pass only.
    """

    wrapped: Module
    model: Module
    settings: Settings
    processes: Processes
    method: Method

    def forget(self, texts: Texts, chosen: list[int]) -> Tensor:
        """Add the gradient of the forget loss; return a half's numbers followed by four zeros."""
        leak = self.settings.leak_logprob

        def loss_of(scores: AnswerScores) -> tuple[Tensor, int, int]:
            counts = still_known(scores, self.settings.hinge, leak)
            loss = mean_over_batch(self.method.forget.compute(scores, self.settings.sharpness), total, counts)
            return loss, int(counts.sum()), int(come_out(scores.sums.detach(), leak).sum())

        total = texts.tokens(chosen) if self.method.forget.per_token else len(chosen)
        return self._half(texts, chosen, loss_of, weight=1.0, place=0, last=False)

    def retain(self, texts: Texts, chosen: list[int]) -> Tensor:
        """Add the gradient of the retain loss, the last of a step; return four zeros and a half's numbers."""

        def loss_of(scores: AnswerScores) -> tuple[Tensor, int, int]:
            return mean_over_batch(self.method.retain.compute(scores), total), len(scores.reference), 0

        total = texts.tokens(chosen) if self.method.retain.per_token else len(chosen)
        return self._half(texts, chosen, loss_of, weight=self.settings.weight, place=4, last=True)

    def evaluate(self, texts: Texts) -> float:
        """Return the current mean NLL per token of all items, in float32, equal on every process."""
        return self._measure(texts.measured_texts)[0]

    def forgotten(self, texts: Texts) -> bool:
        """Whether the items' mean NLL per token has the target, and no answer comes out however it is asked for."""
        nll, leaking = self._measure(texts.measured_texts)
        if nll < (self.settings.target or 0.0) or leaking:
            return False
        return self.settings.leak_logprob is None or not self._measure(texts.everywhere)[1]

    def _measure(self, texts: Sequence[EncodedText]) -> tuple[float, int]:
        """Return the mean NLL per token of some texts, and the number of answers that come out."""
        import torch

        mine = self.processes.share(texts)
        sums = torch.zeros(2, dtype=torch.float64)
        if mine:
            size = self.settings.part_size
            totals = total_logprobs(
                self.model, mine, batch_size=size, device=self.processes.device, advance=lambda _: None
            )
            leaking = int(come_out(totals, self.settings.leak_logprob).sum())
            sums += torch.tensor([mean_nll(totals, mine) * len(mine), leaking], dtype=torch.float64)
        summed, leaking = self.processes.total(sums).tolist()
        return summed / len(texts), round(leaking)

    def _half(
        self,
        texts: Texts,
        chosen: list[int],
        loss_of: Callable[[AnswerScores], tuple[Tensor, int, int]],
        *,
        weight: float,
        place: int,
        last: bool,
    ) -> Tensor:
        import torch

        numbers = torch.zeros(8, dtype=torch.float64)
        pieces = parts(list(self.processes.share(chosen)), self.settings.accumulate)
        for index, piece in enumerate(pieces):
            closing = last and index == len(pieces) - 1
            with contextlib.nullcontext() if closing else self.processes.unsynchronised(self.wrapped):
                scores = self._score(texts, piece)
                loss, counting, leaking = loss_of(scores)
                # accelerate averages the processes' gradients, but their losses are parts of one sum.
                (weight * self.processes.size * loss).backward()
            with torch.no_grad():
                found = [loss.item(), scores.nll.sum().item(), counting, leaking]
            numbers[place : place + 4] += torch.tensor(found, dtype=torch.float64)
        return numbers

    def _score(self, texts: Texts, chosen: Sequence[int]) -> AnswerScores:
        batch = batch_of([texts.encoded[index] for index in chosen], self.processes.device)
        distributions = None if texts.distributions is None else texts.distributions.of(chosen)
        with arithmetic(resolved(self.settings.precision, self.processes.device), self.processes.device):
            return score(self.wrapped, batch, texts.reference[list(chosen)], distributions)


def _logged(number: int, sums: Tensor, texts: tuple[int, int], norm: float) -> Step:
    forget_loss, forget_nll, counting, leaking, retain_loss, retain_nll, *_ = sums.tolist()
    means = forget_nll / texts[0], retain_nll / texts[1]
    return Step(number, forget_loss, retain_loss, *means, round(counting), round(leaking), norm)


def _reached(step: Step, settings: Settings) -> bool:
    return settings.target is not None and step.forget_nll >= settings.target and not step.leaking

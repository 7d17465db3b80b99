"""The training loop: shuffled batches of both sets, the method's loss, AdamW on the adapter, guards on every step."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import TrainingError
from edgeproof.unlearn.encoding import batch_of
from edgeproof.unlearn.losses import mean_over_batch, method_of, still_known
from edgeproof.unlearn.scoring import score

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.unlearn.encoding import EncodedText
    from edgeproof.unlearn.losses import AnswerScores
    from edgeproof.unlearn.settings import Settings
    from peft import PeftModel
    from torch import Generator, Tensor

MAX_GRADIENT_NORM = 1.0
"""Steps with a longer gradient are shortened to it, as in the Hugging Face trainer that the papers used."""


class Step(NamedTuple):
    """What the log says of a step: losses as the method defines them, NLLs per answer token in nat, before the step.

    `counting` is how many of the batch's forget texts the hinge left in.
    """

    step: int
    forget_loss: float
    retain_loss: float
    forget_nll: float
    retain_nll: float
    counting: int
    gradient_norm: float

    def line(self) -> str:
        """As a line of JSON, numbers in six digits."""
        values = {
            key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in self._asdict().items()
        }
        return json.dumps(values, allow_nan=False)


class Texts(NamedTuple):
    """A set as it is trained on: its texts and log π_ref of each, float32 [texts]."""

    encoded: Sequence[EncodedText]
    reference: Tensor


def train(model: PeftModel, forget: Texts, retain: Texts, settings: Settings, progress: Progress) -> tuple[Step, ...]:
    """Train the adapter in place and return the log.

    The random state must have been seeded by the caller: dropout draws from torch's own.

    Raises:
        TrainingError: a loss or the gradient is NaN or infinite (step and numbers are named).

    """
    import torch

    method = method_of(settings.method)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0)
    forget_batches = _shuffled(len(forget.encoded), settings.batch_size, _generator(settings.seed, 1))
    retain_batches = _shuffled(len(retain.encoded), settings.batch_size, _generator(settings.seed, 2))
    steps = settings.steps_for(len(forget.encoded))
    progress.start("unlearning", steps, "steps")
    model.train()
    log: list[Step] = []
    for number in range(1, steps + 1):
        optimizer.zero_grad(set_to_none=True)
        # One graph at a time: the two halves' gradients add up, their activations are never held together.
        forget_scores = _score(model, forget, next(forget_batches), settings)
        counts = still_known(forget_scores, settings.hinge)
        forget_loss = mean_over_batch(method.forget(forget_scores, settings.beta), counts)
        forget_loss.backward()
        retain_scores = _score(model, retain, next(retain_batches), settings)
        retain_loss = method.retain(retain_scores)
        (settings.retain_weight * retain_loss).backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, MAX_GRADIENT_NORM)
        step = Step(
            number,
            forget_loss.item(),
            retain_loss.item(),
            forget_scores.nll.mean().item(),
            retain_scores.nll.mean().item(),
            int(counts.sum()),
            norm.item(),
        )
        _refuse_nonfinite(step, settings)
        optimizer.step()
        log.append(step)
        progress.advance(1)
    return tuple(log)


def _score(model: PeftModel, texts: Texts, chosen: list[int], settings: Settings) -> AnswerScores:
    batch = batch_of([texts.encoded[index] for index in chosen], settings.device)
    return score(model, batch, texts.reference[chosen])


def _generator(seed: int, stream: int) -> Generator:
    """Make a generator of its own for each set, so that the size of one never changes the order of the other."""
    import torch

    return torch.Generator().manual_seed(seed * 4 + stream)


def _shuffled(count: int, batch_size: int, generator: Generator) -> Iterator[list[int]]:
    """Yield batches of indices for ever: each pass over the set in a new order, batches running on across passes."""
    import torch

    waiting: list[int] = []
    while True:
        while len(waiting) < batch_size:
            waiting += torch.randperm(count, generator=generator).tolist()
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def _refuse_nonfinite(step: Step, settings: Settings) -> None:
    numbers = {"forget loss": step.forget_loss, "retain loss": step.retain_loss, "gradient norm": step.gradient_norm}
    if all(math.isfinite(value) for value in numbers.values()):
        return
    found = ", ".join(f"{name} {value:.6g}" for name, value in numbers.items())
    raise TrainingError(
        f"step {step.step} of training went astray: {found}",
        next_step=f"train with a lower learning rate than {settings.learning_rate:g}, or with a hinge",
    )

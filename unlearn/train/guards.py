"""Guards of a training step: finite numbers, a working model, sufficient memory."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeproof.unlearn.settings import Settings
    from edgeproof.unlearn.train.step_log import Step

DESTROYED_FACTOR = 2.0
"""A model is destroyed if its retain NLL is worse than uniform guessing, and more than this many times its start."""


RUINED_RISE = 2.0
"""A model is ruined if the base's own texts cost it this much more, in nat per token."""

VARIED = 1.0
"""Nat per token from which on a base's own texts say something: a language model's cost it 2 to 4, and those of a model
that always writes the same next to nothing."""


def refuse_nonfinite(step: Step, settings: Settings) -> None:
    """Raise `TrainingError` if a number of the step is NaN or infinite."""
    numbers = {
        "forget loss": step.forget_loss,
        "retain loss": step.retain_loss,
        "forget NLL": step.forget_nll,
        "retain NLL": step.retain_nll,
        "gradient norm": step.gradient_norm,
    }
    if all(math.isfinite(value) for value in numbers.values()):
        return
    found = ", ".join(f"{name} {value:.6g}" for name, value in numbers.items())
    raise TrainingError(
        f"training diverged in step {step.step}: {found}",
        next_step=f"train with a lower learning rate than {settings.rate:g}, or with a hinge",
    )


def refuse_destroyed(step: Step, before: float, vocabulary: int, settings: Settings) -> None:
    """Raise `TrainingError` if the model's retain NLL is worse than uniform guessing.

    Args:
        step: the step, with its batch's retain NLL.
        before: the base's mean NLL on the retain set.
        vocabulary: number of tokens; the NLL of uniform guessing is its logarithm.
        settings: for the message.

    """
    blind = math.log(vocabulary)
    if step.retain_nll > blind and step.retain_nll > DESTROYED_FACTOR * before:
        raise TrainingError(
            f"step {step.step} of training finds the model destroyed: retain NLL {step.retain_nll:.2f} nat per token, "
            f"{before:.2f} before training; guessing among {vocabulary} tokens costs {blind:.2f}",
            next_step=f"train with a lower learning rate than {settings.rate:g}, with a hinge, with a forget target "
            f"(--until-forget-nll), or with a larger --retain-weight than {settings.weight:g}",
        )


def refuse_ruined(before: float, since: float, settings: Settings) -> None:
    """Raise `TrainingError` if the model no longer says what the base says, far from either set.

    Args:
        before: the base's mean NLL on its own texts (`own_texts.py`).
        since: the unlearned model's.
        settings: for the message.

    """
    if before > VARIED and since - before > RUINED_RISE:
        raise TrainingError(
            f"the model is ruined: texts that the base wrote cost {since:.2f} nat per token, {before:.2f} before "
            f"training; at most {RUINED_RISE:g} more are accepted",
            next_step=f"train with a lower learning rate than {settings.rate:g}, fewer steps, a lower hinge or forget "
            "target, or more and other retain texts",
        )


def refuse_loss_of_utility(rise: float, where: str, settings: Settings) -> None:
    """Raise `TrainingError` if the retain set's NLL has risen by more than the settings allow."""
    if settings.retain_nll_rise is not None and rise > settings.retain_nll_rise:
        raise TrainingError(
            f"{where}, the retain set's NLL has risen by {rise:.3f} nat per token; {settings.retain_nll_rise:g} are "
            "allowed (--retain-nll-rise)",
            next_step="stop earlier (--until-forget-nll, --hinge), keep more (--retain-weight), or allow a larger rise",
        )


@contextlib.contextmanager
def memory_errors(settings: Settings) -> Iterator[None]:
    """Convert torch's and Python's memory errors to a `TrainingError` that says what to lower."""
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _out_of_memory(str(error), settings) from error
    except RuntimeError as error:
        # torch's CPU allocator has no exception class of its own.
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise _out_of_memory(str(error), settings) from error
        raise


def _out_of_memory(detail: str, settings: Settings) -> TrainingError:
    said = detail.partition("DefaultCPUAllocator: ")[2] or detail
    first = said.strip().splitlines()[0].strip() if said.strip() else "allocation failed"
    ways = [
        f"raise --accumulate (now {settings.accumulate}, at most {settings.batch_size}: the step stays the same)",
        "" if settings.gradient_checkpointing else "add --gradient-checkpointing",
        f"lower --batch-size (now {settings.batch_size})",
        "train a LoRA instead of --full" if settings.full else "",
    ]
    return TrainingError(f"out of memory: {first}", next_step="; or ".join(way for way in ways if way))

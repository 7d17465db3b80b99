"""Estimate of a run's duration, from one step that is timed and discarded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeproof.unlearn.data.encoding import batch_of
from edgeproof.unlearn.data.order import parts
from edgeproof.unlearn.train.precision import arithmetic, resolved
from edgeproof.unlearn.train.scoring import answer_logprobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.unlearn.data.encoding import EncodedText
    from edgeproof.unlearn.settings import Settings
    from torch.nn import Module

FORWARD = 1 / 3
"""Share of a step's time that scoring its texts takes: a forward pass, where training also has a backward pass."""


def seconds_of_a_step(model: Module, batches: Sequence[Sequence[EncodedText]], settings: Settings) -> float:
    """Time the passes of one step, a batch of each set. Weights, gradients and random state stay as they were."""
    import torch

    device = str(next(model.parameters()).device)
    began = time.monotonic()
    with torch.random.fork_rng(devices=None if torch.device(device).type == "cuda" else []):
        for texts in batches:
            for part in parts(list(range(len(texts))), settings.accumulate):
                batch = batch_of([texts[index] for index in part], device)
                with arithmetic(resolved(settings.precision, device), device):
                    logprobs = answer_logprobs(model, batch)
                (-logprobs.sum()).backward()
                logprobs.sum().item()  # waits for the device
    model.zero_grad(set_to_none=True)
    return time.monotonic() - began


def forecast(seconds: float, steps: int, texts: int, scored: int, device: str) -> str:
    """Return the sentence on the duration.

    Args:
        seconds: time of a step.
        steps: largest number of steps.
        texts: texts per step, of both sets.
        scored: texts scored before and after training.
        device: torch's name of where.

    """
    scoring = FORWARD * seconds / texts * scored
    return (
        f"training on {device}: at most {steps:,} steps, about {_duration(seconds * steps)} at {seconds:.2g} s a step; "
        f"scoring {scored:,} texts before and after them, about {_duration(scoring)}"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

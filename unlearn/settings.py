"""All numbers of a training run that are not the data: checked once, written into the card."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeproof.contracts.errors import UsageError
from edgeproof.unlearn.losses import method_of

SURFACES = ("raw", "chat")
"""How a question may reach the model in training: as plain text, or in the model's own chat template."""


@dataclass(frozen=True)
class Settings:
    """The recipe. The defaults are arXiv 2602.13151's for NPO+GDR, but for `retain_weight` (docs/unlearn.md).

    Attributes:
        method: a name of `losses.METHODS`.
        rank: of the LoRA matrices.
        alpha: the adapter's weights are scaled by alpha / rank.
        dropout: share of a LoRA's inputs that are dropped in training.
        targets: ends of the names of the linear layers that get a LoRA ("q_proj"); empty means all but the output head.
        learning_rate: of AdamW, constant, without weight decay.
        steps: number of optimizer steps; None means `epochs`.
        epochs: passes over the forget set; None means 5 unless `steps` is given.
        batch_size: forget texts and, as many again, retain texts of a step.
        beta: NPO's β.
        retain_weight: the α in forget + α·retain.
        hinge: a forget text stops counting once its NLL per token passes this (nat); None means never.
        surfaces: of `SURFACES`; each question is trained on all of them.
        seed: of the adapter's first weights, the order of the data and the dropout.
        threads: of the processor; None leaves torch's choice. Other numbers of threads add in another order.
        device: torch's name of where to train ("cpu", "cuda").

    """

    method: str = "npo+gdr"
    rank: int = 16
    alpha: float = 16.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ()
    learning_rate: float = 5e-4
    steps: int | None = None
    epochs: int | None = None
    batch_size: int = 32
    beta: float = 0.1
    retain_weight: float = 1.0
    hinge: float | None = None
    surfaces: tuple[str, ...] = ("raw",)
    seed: int = 0
    threads: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        method_of(self.method)
        _whole("rank", self.rank, least=1)
        _positive("alpha", self.alpha)
        if not 0.0 <= self.dropout < 1.0:
            raise UsageError(f"dropout is {self.dropout}", next_step="give a share from 0 to below 1")
        _positive("learning rate", self.learning_rate)
        if self.steps is not None and self.epochs is not None:
            raise UsageError(f"both steps ({self.steps}) and epochs ({self.epochs}) are given", next_step="give one")
        _whole("steps", 1 if self.steps is None else self.steps, least=1)
        _whole("epochs", 1 if self.epochs is None else self.epochs, least=1)
        _whole("batch size", self.batch_size, least=1)
        _positive("beta", self.beta)
        if not (math.isfinite(self.retain_weight) and self.retain_weight >= 0):
            raise UsageError(f"the retain weight is {self.retain_weight}", next_step="give a number from 0 up")
        if self.hinge is not None:
            _positive("hinge", self.hinge)
        if not self.surfaces or any(name not in SURFACES for name in self.surfaces):
            raise UsageError(f"surfaces: {', '.join(self.surfaces) or 'none'}", next_step=f"of {', '.join(SURFACES)}")
        if len(set(self.surfaces)) < len(self.surfaces):
            raise UsageError(f"surfaces: {', '.join(self.surfaces)}", next_step="name each once")
        _whole("seed", self.seed, least=0)
        _whole("threads", 1 if self.threads is None else self.threads, least=1)

    def steps_for(self, texts: int) -> int:
        """Count the optimizer steps for so many forget texts."""
        if self.steps is not None:
            return self.steps
        return (self.epochs or 5) * math.ceil(texts / self.batch_size)


def _whole(name: str, value: int, *, least: int) -> None:
    if value < least:
        raise UsageError(f"{name} is {value}", next_step=f"give a whole number of at least {least}")


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} is {value}", next_step="give a number above 0")

"""Unlearning losses and the registry of methods.

```
forget ── GA | NPO | SimNPO | WGA ──┐
                                    ├── forget + α · retain ──▶ gradient on the adapter, or on all weights
retain ── GDR | KLR ────────────────┘
```
A new loss is one function with its record, and the record's name in `FORGET_LOSSES` or `RETAIN_LOSSES`; a method's name
is two of their names.

A loss returns one number per answer or per token; `mean_over_batch` sums them and divides by the number in the whole
batch. So the parts of a batch (`--accumulate`, several processes) add up to the loss and gradient of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import UsageError
from edgeproof.unlearn.train.losses.forget import GA, NPO, SIMNPO, WGA
from edgeproof.unlearn.train.losses.loss import (
    AnswerScores,
    ForgetLoss,
    RetainLoss,
    come_out,
    mean_over_batch,
    still_known,
)
from edgeproof.unlearn.train.losses.retain import GDR, KLR

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FORGET_LOSSES",
    "METHODS",
    "RETAIN_LOSSES",
    "AnswerScores",
    "ForgetLoss",
    "Method",
    "RetainLoss",
    "come_out",
    "mean_over_batch",
    "method_of",
    "still_known",
]

FORGET_LOSSES: Mapping[str, ForgetLoss] = {
    loss.name: loss
    for loss in (
        GA,
        NPO,
        SIMNPO,
        WGA,
    )
}

RETAIN_LOSSES: Mapping[str, RetainLoss] = {
    loss.name: loss
    for loss in (
        GDR,
        KLR,
    )
}

METHODS: tuple[str, ...] = tuple(f"{forget}+{retain}" for forget in FORGET_LOSSES for retain in RETAIN_LOSSES)
"""Values of `--method`."""


class Method(NamedTuple):
    """The two halves of a method, and the defaults that follow from them."""

    forget: ForgetLoss
    retain: RetainLoss

    @property
    def name(self) -> str:
        """Value of `--method`."""
        return f"{self.forget.name}+{self.retain.name}"

    @property
    def retain_weight(self) -> float:
        """The default α."""
        return self.forget.pull * self.retain.weight


def method_of(name: str) -> Method:
    """Look `name` ("npo+gdr") up in the registry.

    Raises:
        UsageError: there is no such method.

    """
    forget, _, retain = name.partition("+")
    if forget not in FORGET_LOSSES or retain not in RETAIN_LOSSES:
        raise UsageError(f"no such method: {name!r}", next_step=f"one of: {', '.join(METHODS)}")
    return Method(FORGET_LOSSES[forget], RETAIN_LOSSES[retain])

"""Log of a training run: one `Step` per optimizer step, as JSON lines and CSV, numbers in six digits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Step(NamedTuple):
    """Log entry of a step: the method's losses, and NLLs per answer token in nat, before the step.

    NLLs are means over the batch's texts; `counting` is the number of its forget texts that the hinge kept,
    `leaking` of those whose answer comes out (`Settings.leak_logprob`).
    """

    step: int
    forget_loss: float
    retain_loss: float
    forget_nll: float
    retain_nll: float
    counting: int
    leaking: int
    gradient_norm: float

    def line(self) -> str:
        """Return a line of JSON, numbers in six digits."""
        return json.dumps(dict(zip(self._fields, map(_rounded, self), strict=True)), allow_nan=False)


def as_lines(log: Sequence[Step]) -> str:
    """Return the content of log.jsonl."""
    return "".join(step.line() + "\n" for step in log)


def as_csv(log: Sequence[Step]) -> str:
    """Return the content of log.csv: the same numbers with a header."""
    rows = (",".join(str(_rounded(value)) for value in step) for step in log)
    return "".join(f"{row}\n" for row in (",".join(Step._fields), *rows))


def _rounded(value: float) -> float | int:
    return float(f"{value:.6g}") if isinstance(value, float) else value

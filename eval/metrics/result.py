"""What a metric found: one number, the values that it is made of, and whose they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from edgeproof.contracts.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Field: TypeAlias = float | str | tuple[float, ...]
"""What is known of one item under one name: a number, a number for each of its answers, or a text."""


class PerItem(NamedTuple):
    """A metric with a value per item.

    Attributes:
        aggregate: the metric.
        ids: the items' ids, in the order of their file.
        values: what `aggregate` is made of, one value per item.
        fields: what the evaluation files hold of each item, by OpenUnlearning's names; one entry per item.

    """

    aggregate: float
    ids: tuple[str, ...]
    values: tuple[float, ...]
    fields: Mapping[str, tuple[Field, ...]]


class Attack(NamedTuple):
    """A membership-inference attack: its AUC, and the scores of both sets (greater: less likely a member)."""

    aggregate: float
    forget: PerItem
    holdout: PerItem


class Single(NamedTuple):
    """A metric over sets, with no value of its own for an item."""

    aggregate: float


Result: TypeAlias = PerItem | Attack | Single


def mean_of(values: Sequence[float]) -> float:
    """Arithmetic mean of at least one value, summed exactly."""
    return math.fsum(values) / len(values)


def per_item(ids: Sequence[str], values: Sequence[float], fields: Mapping[str, Sequence[Field]]) -> PerItem:
    """Make a result whose aggregate is the mean of `values`; a value that is not finite is an error.

    Raises:
        BackendError: a value is NaN or infinite.

    """
    for item, value in zip(ids, values, strict=True):
        if not math.isfinite(value):
            raise BackendError(
                f"item {item}: the metric's value is {value}",
                next_step="the artifact's weights or the engine are broken: run it by hand on any prompt",
            )
    return PerItem(mean_of(values), tuple(ids), tuple(values), {name: tuple(column) for name, column in fields.items()})

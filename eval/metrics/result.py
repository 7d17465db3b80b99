"""Result of a metric: one number, its values per item, and the items' ids."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from edgeproof.contracts.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Field: TypeAlias = float | str | tuple[float, ...]
"""A named field of an item: a number, a number per answer, or a text."""


class PerItem(NamedTuple):
    """A metric with a value per item.

    Attributes:
        aggregate: the metric.
        ids: the items' ids, in the order of their file.
        values: the values from which `aggregate` is computed, one per item.
        fields: fields of the evaluation file, by OpenUnlearning's names; one entry per item.

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
    """A metric over sets, without values per item."""

    aggregate: float


Result: TypeAlias = PerItem | Attack | Single


def mean_of(values: Sequence[float]) -> float:
    """Return the arithmetic mean of at least one value, summed exactly."""
    return math.fsum(values) / len(values)


def per_item(ids: Sequence[str], values: Sequence[float], fields: Mapping[str, Sequence[Field]]) -> PerItem:
    """Return a result whose aggregate is the mean of `values`, which must be finite.

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

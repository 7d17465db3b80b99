"""Order of a set's texts in training: shuffled passes, split into batches, with a state that can be saved.

A pass asks every item once, in one of its forms: a surface is drawn, then a form of it.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.unlearn.settings import Settings
    from torch import Tensor

FORGET_STREAM, RETAIN_STREAM = 1, 2
"""One generator per set, so that the size of one set does not change the order of the other."""


class OrderState(NamedTuple):
    """State of an order: the generator's state (uint8), and the texts for the next batch."""

    generator: Tensor
    waiting: tuple[int, ...]


class Order:
    """Endless batches of indices; each pass over the set has a new order.

    Args:
        count: number of items in the set.
        batch_size: indices per batch.
        seed: seed of the run.
        stream: the set's stream.
        groups: the texts of each item, by surface and form; None where item and text are one.
        whole_passes: end batches with a pass, in nearly equal sizes of at most `batch_size`; by default they have
            exactly that size and continue across passes.

    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int,
        stream: int,
        groups: Sequence[Sequence[Sequence[int]]] | None = None,
        whole_passes: bool = False,
    ) -> None:
        import torch

        self._count, self._batch_size, self._groups = count, batch_size, groups
        self._whole_passes = whole_passes
        self._generator = torch.Generator().manual_seed(seed * 4 + stream)
        self._waiting: list[int] = []

    def next_batch(self) -> list[int]:
        """Return the indices of the next batch."""
        import torch

        size = self._size()
        while len(self._waiting) < size:
            items = torch.randperm(self._count, generator=self._generator).tolist()
            self._waiting += items if self._groups is None else [self._form(self._groups[item]) for item in items]
        batch, self._waiting = self._waiting[:size], self._waiting[size:]
        return batch

    def _size(self) -> int:
        """Return the size of the next batch: the rest of a whole pass, divided by its number of batches."""
        if not self._whole_passes:
            return self._batch_size
        rest = len(self._waiting) or self._count
        return math.ceil(rest / math.ceil(rest / self._batch_size))

    def _form(self, surfaces: Sequence[Sequence[int]]) -> int:
        forms = surfaces[self._draw(len(surfaces))]
        return forms[self._draw(len(forms))]

    def _draw(self, count: int) -> int:
        """Draw one of `count`; if there is only one, the generator is not used."""
        import torch

        return 0 if count == 1 else int(torch.randint(count, (1,), generator=self._generator))

    def state(self) -> OrderState:
        """Return the current state."""
        return OrderState(self._generator.get_state(), tuple(self._waiting))

    def go_to(self, state: OrderState) -> None:
        """Continue from a saved state."""
        self._generator.set_state(state.generator)
        self._waiting = list(state.waiting)


def order_of(count: int, groups: Sequence[Sequence[Sequence[int]]] | None, settings: Settings, stream: int) -> Order:
    """Return the order of a set of `count` items, `FORGET_STREAM` or `RETAIN_STREAM`, in a run."""
    if stream == RETAIN_STREAM:
        return Order(count, settings.retain_size, seed=settings.seed, stream=stream, groups=groups)
    whole = settings.whole_passes
    return Order(count, settings.batch_size, seed=settings.seed, stream=stream, groups=groups, whole_passes=whole)


def parts(chosen: list[int], count: int) -> list[list[int]]:
    """Split a batch into `count` parts of nearly equal size, in order; fewer if it has fewer texts."""
    count = min(count, len(chosen))
    bounds = [len(chosen) * part // count for part in range(count + 1)]
    return [chosen[start:end] for start, end in itertools.pairwise(bounds)]

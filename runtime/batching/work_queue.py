"""Queue of the work of one call, from which several workers take a wave of items at a time."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgeproof.runtime.batching.prefixes import Item

LEAST = 8
"""The fewest items of a wave that is cut so that every worker has some."""


@dataclass(frozen=True)
class Lot:
    """Items that one layout of a worker's memory serves, in the order in which they are taken.

    Attributes:
        items: what to compute.
        cells: tokens that each row of the memory must hold.
        wave: how many items are computed side by side, at most.
        trunk: the beginning that all items share and that a worker computes once.
        chained: whether items are computed one after the other, each from where it differs from the one before.

    """

    items: tuple[Item, ...]
    cells: int
    wave: int
    trunk: tuple[int, ...] = ()
    chained: bool = False


class WorkQueue:
    """Lots in order, shared by `workers` threads.

    A worker stays with its lot while that has items, then begins the next one that nobody has begun, then helps with
    the one that has most left: what it has set up for a lot (memory, trunk) is seldom set up twice.
    """

    def __init__(self, lots: Iterable[Lot], workers: int) -> None:
        self._lots = list(lots)
        self._workers = workers
        self._taken = [0] * len(self._lots)
        self._lock = threading.Lock()

    def take(
        self, held: Lot | None = None, *, most: int | None = None, cells: int | None = None
    ) -> tuple[Lot, Sequence[Item]] | None:
        """Take the next items of a lot.

        Args:
            held: the lot of which the worker took last.
            most: how many items it can take; default: the lot's wave.
            cells: take only from lots of this size.

        Returns:
            The lot and at least one of its items; None where nothing is left.

        """
        with self._lock:
            chosen = self._choose(held, cells)
            if chosen is None:
                return None
            lot, start = self._lots[chosen], self._taken[chosen]
            left = sum(len(one.items) for one in self._lots) - sum(self._taken)
            fair = max(LEAST, -(-left // self._workers))
            stop = min(len(lot.items), start + min(lot.wave, fair, lot.wave if most is None else most))
            self._taken[chosen] = stop
            return lot, lot.items[start:stop]

    def refill(self, held: Lot | None, active: int) -> tuple[Lot, Sequence[Item]] | None:
        """Take items for the rows that `active` generations of the lot leave free, once that is half of them."""
        if held is None or not active:
            return self.take(held)
        if 2 * active > held.wave:
            return None
        return self.take(held, most=held.wave - active, cells=held.cells)

    def _choose(self, held: Lot | None, cells: int | None) -> int | None:
        left = {
            index: len(lot.items) - self._taken[index]
            for index, lot in enumerate(self._lots)
            if self._taken[index] < len(lot.items) and cells in {None, lot.cells}
        }
        for index in left:
            if self._lots[index] is held:
                return index
        fresh = [index for index in left if not self._taken[index]]
        return fresh[0] if fresh else max(left, key=left.__getitem__, default=None)

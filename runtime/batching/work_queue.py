"""Queue of the work of one call, from which several workers take waves of items."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgeproof.runtime.batching.prefixes import Item

LEAST = 8
"""Minimum number of items of a wave that is split among the workers."""


@dataclass(frozen=True)
class Lot:
    """Items that share a layout of a worker's memory, in order of processing.

    Attributes:
        items: the items to compute.
        cells: tokens that each row of the memory must hold.
        wave: maximum number of items computed side by side.
        trunk: common prefix of all items, computed once per worker.
        chained: whether items are computed sequentially, each from its first difference to the previous one.

    """

    items: tuple[Item, ...]
    cells: int
    wave: int
    trunk: tuple[int, ...] = ()
    chained: bool = False


class WorkQueue:
    """Ordered lots, shared by `workers` threads.

    A worker keeps its lot while that has items, then starts the next unstarted one, then helps with the one with the
    most items left, so that a lot's memory and trunk are rarely set up twice.
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
            held: the worker's last lot.
            most: maximum number of items; default: the lot's wave.
            cells: take only from lots of this size.

        Returns:
            The lot and at least one of its items; None if nothing is left.

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
        """Take items for the rows not used by `active` generations of the lot, if at least half are free."""
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

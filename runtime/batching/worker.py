"""Base class of a worker: a thread's memory and its computations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeproof.contracts.backend import Step
    from edgeproof.runtime.batching.continuing import Continuation
    from edgeproof.runtime.batching.prefixes import Item
    from edgeproof.runtime.batching.scoring import Scoring
    from edgeproof.runtime.batching.watching import Watching
    from edgeproof.runtime.batching.work_queue import Lot, WorkQueue


class Worker(ABC):
    """Computes the items of lots in its own memory. A subclass keeps the running generations in `_active`."""

    _active: list[Continuation] | dict[int, Continuation]

    @abstractmethod
    def close(self) -> None:
        """Free the memory."""

    @abstractmethod
    def score(self, queue: WorkQueue, scoring: Scoring) -> None:
        """Take items until none is left, and pass their logits to `scoring`."""

    def generate(self, queue: WorkQueue, going: Sequence[Continuation]) -> None:
        """Take items until none is left, and complete their continuations in `going`."""
        lot = None
        self._active.clear()
        while True:
            taken = queue.refill(lot, len(self._active))
            if taken is not None:
                lot, items = taken
                self._begin(lot, items, going)
            elif lot is not None and self._active:
                self._step(lot)
            else:
                return

    def stream(self, lot: Lot, one: Watching) -> Iterator[Step]:
        """Complete the lot's only item, and yield each step with the watched scores."""
        self._active.clear()
        self._begin(lot, lot.items, [one])
        while True:
            self._look_ahead(lot, one.items, one)
            yield one.step
            if one.result is not None:
                return
            self._step(lot)

    @abstractmethod
    def _begin(self, lot: Lot, items: Sequence[Item], going: Sequence[Continuation]) -> None:
        """Compute the prompts of new generations beside the running ones."""

    @abstractmethod
    def _step(self, lot: Lot) -> None:
        """Advance every active generation by one token."""

    @abstractmethod
    def _look_ahead(self, lot: Lot, items: Sequence[Item], one: Watching) -> None:
        """Compute the ends of `items` behind the only active generation, and leave that as it was."""

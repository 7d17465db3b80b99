"""Worker of the onnxruntime backend: a memory for single-threaded computations of items from the queue."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.runtime.batching.logits import Scratch
from edgeproof.runtime.batching.worker import Worker
from edgeproof.runtime.onnxruntime.layout import Group, shared
from edgeproof.runtime.onnxruntime.session import GRAIN, MIN_ROWS, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edgeproof.runtime.batching.continuing import Continuation
    from edgeproof.runtime.batching.prefixes import Item, OnRow
    from edgeproof.runtime.batching.scoring import Scoring
    from edgeproof.runtime.batching.watching import Watching
    from edgeproof.runtime.batching.work_queue import Lot, WorkQueue
    from numpy.typing import NDArray


class OnnxWorker(Worker):
    """A session's memory, and the content of its first row.

    Args:
        session: the session.
        vocabulary: number of tokens.
        layout: splits items into groups that are computed together.
        by_length: whether the graph's rotary table depends on a sequence's length; each is then computed alone.

    """

    def __init__(
        self,
        session: Session,
        *,
        vocabulary: int,
        layout: Callable[[Sequence[Item]], Iterable[Group]],
        by_length: bool,
    ) -> None:
        self._session, self._layout, self._by_length = session, layout, by_length
        self._scratch = Scratch(vocabulary)
        self._active: list[Continuation] = []

    def close(self) -> None:
        """Free the memory."""
        self._session.close()

    def score(self, queue: WorkQueue, scoring: Scoring) -> None:
        """Take items until none is left, and pass their logits to `scoring`."""
        lot, before = None, None
        on_row = partial(scoring.take, self._scratch)
        while taken := queue.take(lot):
            lot, items = taken
            kept = self._session.reserve(1 if lot.chained else lot.wave, lot.cells)
            if not lot.chained:
                self._prompt_batch(items, 0, on_row)
                before = None
                continue
            before = before if kept and not self._by_length else None
            for item in items:
                self._prompt_one(item, 0, 0 if before is None else shared(before, item), on_row)
                before = item

    def _begin(self, lot: Lot, items: Sequence[Item], going: Sequence[Continuation]) -> None:
        """Compute the prompts of new generations in the rows after the active ones."""
        self._session.reserve(max(MIN_ROWS, lot.wave), lot.cells)

        def on_row(items: Sequence[Item], _position: int, row: NDArray[np.float32]) -> None:
            for item in items:
                going[item.request].take(row)

        for group in self._layout(items):
            first = len(self._active)
            self._prompt(group, range(first, first + len(group.items)), on_row)
            self._active += [going[item.request] for item in group.items]
        self._close_ranks()

    def _look_ahead(self, _lot: Lot, items: Sequence[Item], one: Watching) -> None:
        """Compute the ends of `items` behind the generation in row 0, in a copy of it in row 1."""
        for item in items:
            start = 0 if self._by_length else item.shareable
            self._session.copy(0, 1, start)
            self._prompt_one(item, 1, start, one.score)

    def _step(self, _lot: Lot) -> None:
        """Advance every active generation by one token."""
        active = self._active
        count = max(MIN_ROWS, len(active))
        tokens = np.zeros((count, 1), np.int64)
        starts = [0] * count
        for row, one in enumerate(active):
            tokens[row, 0] = one.last_token
            starts[row] = one.length - 1
        logits = self._session.run(0, starts, tokens)
        for row, one in enumerate(active):
            one.take(logits[row, 0])
        self._close_ranks()

    def _close_ranks(self) -> None:
        """Move the last generations into the rows of finished ones."""
        placed = self._active
        row = 0
        while row < len(placed):
            if placed[row].result is None:
                row += 1
                continue
            last = placed.pop()
            if row < len(placed):
                if last.result is None:
                    self._session.copy(len(placed), row, last.length)
                placed[row] = last

    def _prompt(self, group: Group, rows: Sequence[int], on_row: OnRow) -> None:
        """Compute a group's items, each in its row of memory, and pass on the needed logits."""
        if not group.chained:
            self._prompt_batch(group.items, rows[0], on_row)
            return
        before: Item | None = None
        for number, (item, row) in enumerate(zip(group.items, rows, strict=True)):
            start = 0 if before is None else shared(before, item)
            if start and rows[number - 1] != row:
                self._session.copy(rows[number - 1], row, start)
            self._prompt_one(item, row, start, on_row)
            before = item

    def _prompt_batch(self, items: Sequence[Item], first: int, on_row: OnRow) -> None:
        width = _even(max(len(item.tokens) for item in items))
        tokens = np.zeros((len(items), width), np.int64)
        for line, item in enumerate(items):
            tokens[line, : len(item.tokens)] = item.tokens
        logits = self._session.run(first, [0] * len(items), tokens)
        for line, item in enumerate(items):
            for position in range(item.shareable, len(item.tokens)):
                on_row((item,), position, logits[line, position])

    def _prompt_one(self, item: Item, row: int, start: int, on_row: OnRow) -> None:
        """Compute an item from `start` on, in parts of an even number of tokens."""
        end = len(item.tokens)
        while start < end:
            stop = min(end, start + self._session.engine.tokens)
            first = max(0, start - (stop - start) % GRAIN)  # repeat one token, or add one of padding after a whole item
            tokens = np.zeros((1, _even(stop - first)), np.int64)
            tokens[0, : stop - first] = item.tokens[first:stop]
            logits = self._session.run(row, [first], tokens, length=end if self._by_length else 0)
            for position in range(max(start, item.shareable), stop):
                on_row((item,), position, logits[0, position - first])
            start = stop


def _even(length: int) -> int:
    return length + length % GRAIN

"""Worker of the llama.cpp backend: a single-threaded context that computes items from the queue."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.runtime.batching.logits import Scratch
from edgeproof.runtime.batching.prefixes import Piece
from edgeproof.runtime.batching.worker import Worker
from edgeproof.runtime.llama.streams import MIN_ROWS, ROW_GRAIN, Streams
from edgeproof.runtime.llama.waves import batches, decode_pieces, load_trunk, run_wave

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeproof.runtime.batching.continuing import Continuation
    from edgeproof.runtime.batching.prefixes import Item
    from edgeproof.runtime.batching.scoring import Scoring
    from edgeproof.runtime.batching.watching import Watching
    from edgeproof.runtime.batching.work_queue import Lot, WorkQueue
    from edgeproof.runtime.llama.model import Model
    from numpy.typing import NDArray


class LlamaWorker(Worker):
    """Streams on a shared model: a lot's wave and, if that has several, one for copies and one for the trunk.

    Args:
        model: the weights.
        rows: maximum number of tokens per call.
        beat: called after each call; may raise.

    """

    def __init__(self, model: Model, rows: int, beat: Callable[[], None]) -> None:
        self._model, self._rows, self._beat = model, rows, beat
        self._scratch = Scratch(model.vocabulary_size)
        self._streams: Streams | None = None
        self._trunk: tuple[int, ...] | None = None
        self._active: dict[int, Continuation] = {}

    def close(self) -> None:
        """Free the streams."""
        if self._streams is not None:
            self._streams.close()
            self._streams = None

    def score(self, queue: WorkQueue, scoring: Scoring) -> None:
        """Take items until none is left, and pass their logits to `scoring`."""
        lot = None
        while taken := queue.take(lot):
            lot, items = taken
            on_row = partial(scoring.take, self._scratch)
            run_wave(
                self._open(lot), len(lot.trunk), items, range(lot.wave), on_row, takes_back=not self._model.recurrent
            )

    def _look_ahead(self, lot: Lot, items: Sequence[Item], one: Watching) -> None:
        """Compute the ends of `items` behind the generation in stream 0, side by side in copies of it."""
        streams = self._open(lot)
        places = range(1, streams.count) or range(1)  # where one stream fits, it is taken back
        for begin in range(0, len(items), len(places)):
            pieces = [
                Piece(place, (item,), item.shareable, len(item.tokens), last=True)
                for place, item in zip(places, items[begin:], strict=False)
            ]
            for piece in pieces:
                if piece.stream:
                    streams.copy(0, piece.stream)
            for width, batch in batches(pieces, rows=streams.rows, cells=streams.cells):
                decode_pieces(streams, width, batch, one.score)
            if not places.start:
                streams.truncate(0, pieces[0].start)

    def _begin(self, lot: Lot, items: Sequence[Item], going: Sequence[Continuation]) -> None:
        """Compute the prompts of new generations in the free streams."""
        ended: set[int] = set()

        def on_row(items: Sequence[Item], _position: int, row: NDArray[np.float32]) -> None:
            ended.update(item.request for item in items if going[item.request].take(row))

        streams = self._open(lot)
        self._close_ranks(streams, len(self._active))
        free = range(len(self._active), lot.wave)
        takes_back = not self._model.recurrent
        placed = run_wave(streams, len(lot.trunk), items, free, on_row, takes_back=takes_back, keep=True)
        self._active |= {stream: going[index] for index, stream in placed.items() if index not in ended}

    def _step(self, lot: Lot) -> None:
        """Advance every active generation by one token."""
        streams, active = self._open(lot), self._active
        self._close_ranks(streams, max(MIN_ROWS, len(active) + -len(active) % ROW_GRAIN))
        used = max(active) + 1
        count = min(lot.wave, max(MIN_ROWS, used + -used % ROW_GRAIN))
        tokens = np.zeros((count, 1), np.int32)
        starts = [0] * count
        wanted = np.zeros((count, 1), np.bool_)
        for stream in range(count):
            if stream in active:
                tokens[stream, 0] = active[stream].last_token
                starts[stream] = active[stream].length - 1
                wanted[stream, 0] = True
            else:
                streams.clear(stream)
        streams.decode(0, starts, tokens, wanted)
        for stream in [stream for stream, one in active.items() if one.take(streams.logits(stream))]:
            del active[stream]

    def _close_ranks(self, streams: Streams, rows: int) -> None:
        """Move the last generations into the first `rows` streams."""
        active = self._active
        holes = [stream for stream in range(rows) if stream not in active]
        for source in [stream for stream in active if stream >= rows]:
            target = holes.pop(0)
            streams.copy(source, target)
            active[target] = active.pop(source)

    def _open(self, lot: Lot) -> Streams:
        """Return streams of the lot's shape, with its trunk in the last stream."""
        count = lot.wave + 2 if lot.wave > 1 else 1
        if self._streams is None or (self._streams.count, self._streams.cells) != (count, lot.cells):
            self.close()
            self._trunk = None
            self._streams = Streams(
                self._model, count=count, cells=lot.cells, rows=self._rows, threads=1, beat=self._beat
            )
        if lot.trunk and lot.trunk != self._trunk:
            self._trunk = None
            load_trunk(self._streams, lot.trunk)
            self._trunk = lot.trunk
        return self._streams

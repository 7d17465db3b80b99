"""Computation of a wave of requests on the streams: steps of the plan, split into batches."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.runtime.batching.prefixes import CALL_TOKENS, GRAIN, Item, Piece, plan
from edgeproof.runtime.llama.streams import MIN_ROWS, ROW_GRAIN, WIDTH_GRAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.runtime.batching.prefixes import OnRow
    from edgeproof.runtime.llama.streams import Streams
    from numpy.typing import NDArray

COPY_CELLS = 2048
"""Number of copied cells that costs about as much as computing one token (SmolLM2-135M: 48 MB, 2 ms)."""


class Padding(Enum):
    """Pieces that may be padded with arbitrary tokens."""

    ANY = auto()
    LAST = auto()
    """Pieces with which their item, and the use of their stream, ends."""
    NONE = auto()
    """None, so that each piece is a separate batch."""


def run_wave(
    streams: Streams,
    depth: int,
    items: Sequence[Item],
    places: Sequence[int],
    on_row: OnRow,
    *,
    takes_back: bool,
    keep: bool = False,
) -> dict[int, int]:
    """Compute `items` and pass each needed row to `on_row`; return each item's stream by its index.

    Args:
        streams: the streams.
        depth: number of leading tokens of each item in the last stream; the stream before it is used for copies.
        items: at most as many as `places`, in lexicographic order.
        places: the available streams, ascending.
        on_row: receives the rows.
        takes_back: whether streams can be truncated; otherwise shared pieces must not be padded.
        keep: whether the streams must finally hold exactly the items' tokens.

    """
    copy_cost, grain = streams.cells / COPY_CELLS, 1 if takes_back else GRAIN
    steps, placed = plan(items, places, streams.count - 2, depth, copy_cost=copy_cost, grain=grain)
    for step in steps:
        for source, target in step.copies:
            if source >= 0 or depth:
                streams.copy(source if source >= 0 else streams.count - 1, target)
            else:
                streams.clear(target)
        padded = Padding.ANY if takes_back else Padding.NONE if keep else Padding.LAST
        for width, pieces in batches(step.pieces, rows=streams.rows, cells=streams.cells, padded=padded):
            decode_pieces(streams, width, pieces, on_row)
            for piece in pieces:
                if piece.start + width > piece.stop and (keep or not piece.last):
                    streams.truncate(piece.stream, piece.stop)
    return placed


def load_trunk(streams: Streams, trunk: tuple[int, ...]) -> None:
    """Compute a trunk into the last stream."""
    stream = streams.count - 1
    streams.clear(stream)
    piece = Piece(stream, (Item(-1, trunk, len(trunk)),), 0, len(trunk), last=False)
    decode_pieces(streams, len(trunk), [piece], _ignore)


def batches(
    pieces: Sequence[Piece], *, rows: int, cells: int, padded: Padding = Padding.ANY
) -> list[tuple[int, Sequence[Piece]]]:
    """Split `pieces` (by ascending stream) into batches: a common width in tokens, and pieces of adjacent streams.

    The split minimizes the cost of padding and calls. Pieces wider than `rows` are single batches, which
    `decode_pieces` splits.
    """
    best: list[tuple[int, int]] = [(0, 0)]
    """For each number of first pieces: their cost in tokens, and the start of their last batch."""
    for end in range(1, len(pieces) + 1):
        costs = []
        for start in range(end - 1, -1, -1):
            batch = pieces[start:end]
            if len(batch) > 1 and not _fits(batch, rows, cells, padded):
                break
            costs.append((best[start][0] + CALL_TOKENS + _width(batch, rows, padded) * len(batch), start))
        best.append(min(costs))
    found: list[tuple[int, Sequence[Piece]]] = []
    end = len(pieces)
    while end:
        start = best[end][1]
        found.append((_width(pieces[start:end], rows, padded), pieces[start:end]))
        end = start
    return found[::-1]


def decode_pieces(streams: Streams, width: int, pieces: Sequence[Piece], on_row: OnRow) -> None:
    """Decode pieces of adjacent streams, each padded to `width` tokens, in parts if they do not fit into one call."""
    for offset in range(0, width, streams.rows):
        part = min(streams.rows, width - offset)
        tokens = np.zeros((len(pieces), part), np.int32)
        asking: dict[tuple[int, int], list[Item]] = {}
        for line, piece in enumerate(pieces):
            start, stop = piece.start + offset, min(piece.stop, piece.start + offset + part)
            tokens[line, : max(0, stop - start)] = piece.items[0].tokens[start:stop]
            for item in piece.items:
                for position in range(max(start, item.shareable), min(stop, len(item.tokens))):
                    asking.setdefault((line, position - start), []).append(item)
        wanted = np.zeros((len(pieces), part), np.bool_)
        for place in asking:
            wanted[place] = True
        streams.decode(pieces[0].stream, [piece.start + offset for piece in pieces], tokens, wanted)
        for (line, column), items in asking.items():
            on_row(items, pieces[line].start + offset + column, streams.logits(line * part + column))


def _fits(batch: Sequence[Piece], rows: int, cells: int, padded: Padding) -> bool:
    """Whether these pieces can form one batch."""
    if padded is Padding.NONE or batch[-1].stream - batch[0].stream != len(batch) - 1:
        return False
    width = _width(batch, rows, padded)
    return width * len(batch) <= rows and all(
        piece.stop - piece.start == width or (piece.start + width <= cells and (piece.last or padded is Padding.ANY))
        for piece in batch
    )


def _width(batch: Sequence[Piece], rows: int, padded: Padding) -> int:
    """Return the batch's common width, increased if it, or its last part, would have too few rows."""
    width = max(piece.stop - piece.start for piece in batch)
    if padded is Padding.NONE or (padded is Padding.LAST and not all(piece.last for piece in batch)):
        return width
    if width > rows:
        return width + -width % MIN_ROWS
    grain = WIDTH_GRAIN if padded is Padding.ANY else ROW_GRAIN
    width += -width % grain
    while width * len(batch) < MIN_ROWS or width * len(batch) % ROW_GRAIN:
        width += grain
    return width


def _ignore(_items: Sequence[Item], _position: int, _row: NDArray[np.float32]) -> None:
    """Ignore a row."""

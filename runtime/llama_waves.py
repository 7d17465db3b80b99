"""Compute one wave of requests on the streams: follow the plan's steps, cut each into batches, hand out the logits."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.runtime.llama_streams import MIN_ROWS, ROW_GRAIN
from edgeproof.runtime.prefixes import Item, Piece, plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeproof.runtime.llama_streams import Streams
    from edgeproof.runtime.prefixes import OnRow
    from numpy.typing import NDArray

COPY_CELLS = 128
"""Copying this many cells of a stream costs about as much as computing one token (SmolLM2-135M: 3 MB, 1 ms)."""

WASTED_ROWS = 16
"""Padding that is cheaper than a batch of its own."""


class Keep(Enum):
    """How a wave leaves the streams."""

    NOTHING = auto()
    """Anyhow: they are done with."""
    TRUNCATED = auto()
    """With the items' tokens and nothing else: padding is taken back."""
    EXACT = auto()
    """The same for memories that can take nothing back: without padding, one stream at a time."""


def run_wave(
    streams: Streams,
    depth: int,
    items: Sequence[Item],
    places: Sequence[int],
    on_row: OnRow,
    *,
    keep: Keep = Keep.NOTHING,
) -> dict[int, int]:
    """Compute `items` and hand each wanted row to `on_row`; return each item's stream by its index.

    Args:
        streams: where to compute.
        depth: how many leading tokens of each item the last stream holds.
        items: at most as many as `places`, in lexicographic order.
        places: the streams that may be used, ascending.
        on_row: takes the rows.
        keep: how the streams are left.

    """
    steps, placed = plan(items, places, depth, streams.cells / COPY_CELLS)
    for number, step in enumerate(steps):
        for source, target in step.copies:
            streams.copy(source, target)
        for piece in step.pieces if number == 0 else ():
            if depth:
                streams.copy(streams.count - 1, piece.stream)
            else:
                streams.clear(piece.stream)
        for width, pieces in batches(step.pieces, rows=streams.rows, cells=streams.cells, exact=keep is Keep.EXACT):
            decode_pieces(streams, width, pieces, on_row)
            if keep is Keep.TRUNCATED:
                for piece in pieces:
                    streams.truncate(piece.stream, piece.stop)
    return placed


def load_trunk(streams: Streams, trunk: tuple[int, ...]) -> None:
    """Compute a trunk into the last stream."""
    stream = streams.count - 1
    streams.clear(stream)
    piece = Piece(stream, Item(-1, trunk, len(trunk)), 0, len(trunk), last=False)
    decode_pieces(streams, len(trunk), [piece], _ignore)


def batches(
    pieces: Sequence[Piece], *, rows: int, cells: int, exact: bool = False
) -> Iterator[tuple[int, tuple[Piece, ...]]]:
    """Cut `pieces` (by ascending stream) into batches: a common width in tokens, and pieces of adjacent streams.

    A piece with which its item ends may be padded; others, and all where `exact`, may not. Pieces wider than `rows`
    come alone, for `decode_pieces` to cut.
    """
    batch: tuple[Piece, ...] = ()
    for piece in pieces:
        joined = (*batch, piece)
        if batch and (exact or not _fits(joined, rows, cells)):
            yield _width(batch, rows, exact=exact), batch
            joined = (piece,)
        batch = joined
    if batch:
        yield _width(batch, rows, exact=exact), batch


def decode_pieces(streams: Streams, width: int, pieces: Sequence[Piece], on_row: OnRow) -> None:
    """Decode pieces of adjacent streams, each padded to `width` tokens, in parts where they do not fit at once."""
    for offset in range(0, width, streams.rows):
        part = min(streams.rows, width - offset)
        tokens = np.zeros((len(pieces), part), np.int32)
        wanted = np.zeros((len(pieces), part), np.bool_)
        for line, piece in enumerate(pieces):
            start = piece.start + offset
            own = piece.item.tokens[start : min(piece.stop, start + part)]
            tokens[line, : len(own)] = own
            if piece.last:
                wanted[line, max(0, piece.item.shareable - start) : len(own)] = True
        streams.decode(pieces[0].stream, [piece.start + offset for piece in pieces], tokens, wanted)
        for line, column in np.argwhere(wanted).tolist():
            piece = pieces[line]
            on_row(piece.item, piece.start + offset + column, streams.logits(line * part + column))


def _fits(batch: Sequence[Piece], rows: int, cells: int) -> bool:
    """Whether the last piece may join those before it."""
    needed = [_needed(piece) for piece in batch]
    width = max(needed)
    padded = [piece for piece, own in zip(batch, needed, strict=True) if own < width]
    return (
        batch[-1].stream == batch[-2].stream + 1
        and width * len(batch) <= rows
        and all(piece.last and piece.start + width <= cells for piece in padded)
        and width * len(batch) - sum(needed) <= max(WASTED_ROWS, width * len(batch) // 4)
    )


def _needed(piece: Piece) -> int:
    length = piece.stop - piece.start
    return length + -length % ROW_GRAIN if piece.last else length


def _width(batch: Sequence[Piece], rows: int, *, exact: bool) -> int:
    """The batch's common width; wider where it, or its last part, would have too few rows."""
    if exact:
        return batch[0].stop - batch[0].start
    width = max(map(_needed, batch))
    too_few = len(batch) * width < MIN_ROWS or width > rows
    return width + -width % MIN_ROWS if too_few else width


def _ignore(_item: Item, _position: int, _row: NDArray[np.float32]) -> None:
    """Leave a row unread."""

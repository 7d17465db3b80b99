"""Checks of the rows that reach a writer: all finite, each exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.tensors import Float32Array


def check_finite(rows: Float32Array, start: int, *, name: str, source: str) -> None:
    """Check rows from `start` on of the output `name`, float32 [n, columns].

    Raises:
        CheckpointError: a value is NaN or infinite.

    """
    finite = np.isfinite(rows)
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0]
    raise CheckpointError(
        f"{name} has {rows[row, column]} at row {start + row:,}, column {column:,} (from {source!r}, merged)",
        next_step="the base or an adapter holds NaN or infinite weights: download them again",
    )


def check_came_once(spans: Sequence[tuple[int, int]], start: int, stop: int, *, name: str, source: str) -> None:
    """Check that `spans` of rows, in any order, cover `start` to `stop` without gap or overlap.

    Raises:
        CheckpointError: they do not.

    """
    at = start
    for first, last in sorted(spans):
        if first != at:
            break
        at = last
    if at != stop or sum(last - first for first, last in spans) != stop - start:
        raise CheckpointError(
            f"{name}: its {stop - start:,} rows did not arrive exactly once each: {len(spans):,} chunks arrived, and "
            f"the first {at - start:,} rows are contiguous (from {source!r})",
            next_step="check that the checkpoint is complete",
        )

"""How many of the stored codes an adapter moved: those of the base and of the merge, quantized alike, on a sample.

Quantizing the whole base beside the merge would double the work of an export; a sample shows the share well enough to
see an adapter that rounding undoes. `export-edge inspect` counts them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeproof.contracts.tensors import Checkpoint
    from edgeproof.export.onnx.layout import StoredMatrix

TENSORS = 24
ROWS = 32
"""The sample: so many of the tensors that an adapter touches, evenly spread, and so many rows in the middle of each."""


class MovedCodes(NamedTuple):
    """`share` of the codes of `sampled` weights, in tensors that an adapter touches, is another than the base's."""

    share: float
    sampled: int


def sample_moved_codes(
    base: Checkpoint, merged: Checkpoint, touched: Iterable[str], matrices: Iterable[StoredMatrix]
) -> MovedCodes | None:
    """Compare codes of `base` and `merged`; None where no quantized matrix comes from a tensor in `touched`.

    Args:
        base: the weights before.
        merged: the weights after, under the same names.
        touched: names of the tensors that an adapter changes.
        matrices: of the folder.

    """
    names = set(touched)
    candidates = [
        (part, stored.precision, stored.matrix.columns)
        for stored in matrices
        if stored.precision is not None
        for part in stored.matrix.parts
        if part.source in names and part.source in base.tensors
    ]
    if not candidates:
        return None
    chosen = {round(number) for number in np.linspace(0, len(candidates) - 1, min(TENSORS, len(candidates)))}
    moved = total = 0.0
    sampled = 0
    for number in sorted(chosen):
        part, precision, columns = candidates[number]
        start = part.start + max(part.stop - part.start - ROWS, 0) // 2
        stop = min(start + ROWS, part.stop)
        before, after = (precision.quantize(of.rows(part.source, start, stop)).codes for of in (base, merged))
        changed = before ^ after
        count = np.count_nonzero(changed)
        if precision.bits == 4:
            count = np.count_nonzero(changed & 15) + np.count_nonzero(changed >> 4)
        # A tensor's sample stands for all its rows.
        moved += count / (stop - start) * (part.stop - part.start)
        total += (part.stop - part.start) * columns
        sampled += (stop - start) * columns
    return MovedCodes(float(moved / total), sampled)

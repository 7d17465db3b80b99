"""Writer of a GGUF file from chunks of several threads, in any order, each written to its final position.

```
  RowChunk ── transform ──▶ float32 rows ── kernel ──▶ bytes ── pwrite ──▶ .NAME.XXXX.part ── finish ──▶ NAME
```
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.atomic import commit, refuse_existing, write_failed
from edgeproof.contracts.errors import CheckpointError, OutputError
from edgeproof.contracts.tensors import TensorRecord, identity
from edgeproof.export.artifact.data_file import data_failed, removed_on_failure, take_space, too_little_space, write_at
from edgeproof.export.artifact.folder import made_at
from edgeproof.export.gguf import kernels
from edgeproof.export.gguf.layout import plan, write_header
from edgeproof.export.merge.row_checks import check_came_once, check_finite
from gguf import GGMLQuantizationType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeproof.contracts.tensors import Float32Array, ModelDescription, RowChunk
    from edgeproof.export.gguf.imatrix import Imatrix
    from edgeproof.export.gguf.layout import PlannedTensor
    from numpy.typing import NDArray


class GgufWriter:
    """A `Writer` for one GGUF file.

    The file is preallocated, so a full disk is detected before any computation. `overrides` are strings PATTERN=TYPE;
    they and `imatrix` apply to quantized formats only. With `inside` the finished file is left in that folder, under
    the target's name.

    Raises:
        UsageError: an override is not PATTERN=TYPE.
        OutputError: the target exists (without `force`), its folder is missing or read-only, the disk is full.
        InputError: an importance matrix is missing or does not fit.

    """

    def __init__(
        self,
        description: ModelDescription,
        target: Path,
        scheme: str,
        *,
        imatrix: Imatrix | None = None,
        overrides: Sequence[str] = (),
        inside: Path | None = None,
        force: bool = False,
    ) -> None:
        refuse_existing(target, force=force)
        self._layout = plan(description, scheme, imatrix=imatrix, overrides=overrides)
        self._target = target
        self._made = made_at(target, inside)
        self._force = force
        self._lock = threading.Lock()
        self._by_source: dict[str, list[PlannedTensor]] = defaultdict(list)
        self._written: dict[str, list[tuple[int, int]]] = {tensor.output.name: [] for tensor in self._layout.tensors}
        self._temporary = self._made.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            self._file = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise write_failed(target, error) from error
        with removed_on_failure(self.abort, self._failed):
            self._begin()

    @property
    def planned(self) -> tuple[PlannedTensor, ...]:
        """All tensors of the file, with their stored types."""
        return self._layout.tensors

    def write(self, chunk: RowChunk) -> None:
        """Quantize and store one chunk of a source tensor.

        Raises:
            CheckpointError: a weight is NaN or infinite, or too large for the type.
            OutputError: the disk is full.

        """
        for tensor in self._by_source.get(chunk.name, ()):
            transform = tensor.output.transform
            rows = chunk.rows if transform is identity else transform(chunk.rows)
            # Source rows after the output's last one are dropped (a padded vocabulary).
            stop = min(chunk.stop, tensor.rows)
            if chunk.start < stop:
                self._store(tensor, chunk.start, stop, rows[: stop - chunk.start])

    def finish(self) -> tuple[TensorRecord, ...]:
        """Check that every row was written once, fsync, and rename the file to its final name.

        Raises:
            CheckpointError: rows are missing or were written twice.
            OutputError: the disk is full, or the target was created in the meantime.

        """
        with removed_on_failure(self.abort, self._failed):
            for tensor in self._layout.tensors:
                output = tensor.output
                spans = self._written[output.name]
                check_came_once(spans, 0, tensor.rows, name=output.name, source=output.source)
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1
            commit(self._temporary, self._made, force=self._force)
        return tuple(
            TensorRecord(tensor.output.name, tensor.output.shape, tensor.kind.name, tensor.bytes)
            for tensor in self._layout.tensors
        )

    def abort(self) -> None:
        """Remove the temporary file; does nothing after `finish`."""
        with self._lock, contextlib.suppress(OSError):
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _begin(self) -> None:
        """Write the header, preallocate the file, write the constants."""
        self._data_offset = 0
        free = shutil.disk_usage(self._target.parent).free
        if free < self._layout.data_bytes:
            raise too_little_space(self._target, self._layout.data_bytes, free)
        self._data_offset = write_header(self._layout, self._temporary)
        take_space(self._file, self._data_offset + self._layout.data_bytes)
        for tensor in self._layout.tensors:
            if tensor.output.constant is not None:
                values = tensor.output.constant.reshape(tensor.rows, tensor.columns)
                self._store(tensor, 0, tensor.rows, values)
            else:
                self._by_source[tensor.output.source].append(tensor)

    def _store(self, tensor: PlannedTensor, start: int, stop: int, rows: Float32Array) -> None:
        expected = (stop - start, tensor.columns)
        if rows.shape != expected:
            raise CheckpointError(
                f"{tensor.output.name} is described as {tensor.rows:,} × {tensor.columns:,}, "
                f"but rows {start:,} to {stop:,} are {' × '.join(map(str, rows.shape))}",
                next_step="check that config.json belongs to these weights",
            )
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        check_finite(rows, start, name=tensor.output.name, source=tensor.output.source)
        for first, last, importance in _slices(tensor, start, stop):
            part = rows[first - start : last - start]
            stored = kernels.quantize(tensor.kind, part, importance)
            if tensor.kind is not GGMLQuantizationType.F32 and not kernels.is_valid(tensor.kind, stored):
                raise _too_large(tensor, part)
            self._place(stored, self._data_offset + tensor.offset + first * tensor.row_bytes)
        with self._lock:
            self._written[tensor.output.name].append((start, stop))

    def _place(self, stored: NDArray[np.uint8], offset: int) -> None:
        try:
            write_at(self._file, stored, offset)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        return data_failed(self._target, error, self._data_offset + self._layout.data_bytes)


def _slices(tensor: PlannedTensor, start: int, stop: int) -> list[tuple[int, int, Float32Array | None]]:
    """Split rows `start` to `stop` where the importance weights change: at the bounds of experts."""
    if tensor.importance is None:
        return [(start, stop, None)]
    rows = tensor.rows // len(tensor.importance)
    cuts = [start, *range((start // rows + 1) * rows, stop, rows), stop]
    return [(first, last, tensor.importance[first // rows]) for first, last in itertools.pairwise(cuts)]


def _too_large(tensor: PlannedTensor, rows: Float32Array) -> CheckpointError:
    largest = float(np.abs(rows).max())
    return CheckpointError(
        f"{tensor.output.name} holds {largest:g}, too large for {tensor.kind.name} (float16 ends at 65,504)",
        next_step="write gguf-f32, or choose another type for this tensor with --tensor-type",
    )

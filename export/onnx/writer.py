"""Writing one ONNX folder from chunks that come from several threads, in any order, straight to their places.

```
  RowChunk ── rows of each matrix ──▶ quantize ──▶ codes, scales, zeros ── pwrite ──▶ .NAME.XXXX.part ── finish ──▶ NAME
```
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.contracts.atomic import write_failed
from edgeproof.contracts.errors import CheckpointError, OutputError
from edgeproof.contracts.tensors import TensorRecord
from edgeproof.export.data_file import data_failed, take_space, too_little_space, write_at
from edgeproof.export.folder import commit_folder, refuse_existing_folder, remove_folder, temporary_folder
from edgeproof.export.onnx.genai_config import MODEL_FILE, genai_config
from edgeproof.export.onnx.graph import ACCURACY_LEVEL, DATA_FILE, build_graph
from edgeproof.export.onnx.layout import StoredMatrix, StoredVector, plan_layout
from edgeproof.export.onnx.tokenizer_files import write_tokenizer_files

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.tensors import Float32Array, RowChunk
    from edgeproof.export.onnx.description import OnnxDescription
    from edgeproof.export.onnx.layout import Initializer
    from edgeproof.export.onnx.weights import Part
    from numpy.typing import NDArray


class _Piece(NamedTuple):
    """A part of a source tensor, and what it belongs to."""

    part: Part
    stored: StoredMatrix | StoredVector


class OnnxWriter:
    """A `Writer` for one folder: model.onnx, model.onnx.data, genai_config.json and the tokenizer's files.

    The space for the whole data file is taken at once, so a full disk shows before anything is computed.

    Raises:
        OutputError: the target exists (without `force`) or is no artifact, its folder is read-only, too little space.
        CheckpointError: nothing names a token that ends a text.

    """

    def __init__(
        self,
        description: OnnxDescription,
        target: Path,
        scheme: str,
        *,
        shared_scales: bool = False,
        force: bool = False,
    ) -> None:
        refuse_existing_folder(target, force=force)
        self._description = description
        self._target = target
        self._force = force
        self._lock = threading.Lock()
        self._layout = plan_layout(description, scheme, shared_scales=shared_scales)
        self._by_source: dict[str, list[_Piece]] = defaultdict(list)
        for matrix in self._layout.matrices.values():
            for part in matrix.matrix.parts:
                self._by_source[part.source].append(_Piece(part, matrix))
        for vector in self._layout.vectors.values():
            for part in vector.vector.parts:
                self._by_source[part.source].append(_Piece(part, vector))
        self._spans: dict[tuple[str, Part], list[tuple[int, int]]] = {
            (_name(piece), piece.part): [] for pieces in self._by_source.values() for piece in pieces
        }
        self._file = -1
        try:
            self._temporary = temporary_folder(target)
        except OSError as error:
            raise write_failed(target, error) from error
        try:
            self._begin()
        except BaseException as error:
            self.abort()
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise

    @property
    def matrices(self) -> tuple[StoredMatrix, ...]:
        """Every matrix of the folder, and how it is stored."""
        return tuple(self._layout.matrices.values())

    def write(self, chunk: RowChunk) -> None:
        """Quantize and store one chunk of a source tensor.

        Raises:
            CheckpointError: a weight is NaN or infinite.
            OutputError: the disk is full.

        """
        for piece in self._by_source.get(chunk.name, ()):
            if isinstance(piece.stored, StoredVector):
                self._store_vector(piece.stored, piece.part, chunk)
            else:
                self._store_matrix(piece.stored, piece.part, chunk)

    def finish(self) -> tuple[TensorRecord, ...]:
        """Check that every row has come once, fsync, and give the folder its final name.

        Raises:
            CheckpointError: rows are missing or came twice.
            OutputError: the disk is full, or the target has come into being meanwhile.

        """
        try:
            self._check_complete()
            os.close(self._file)
            self._file = -1
            commit_folder(self._temporary, self._target, force=self._force)
        except BaseException as error:
            self.abort()
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise
        return tuple(self._records())

    def abort(self) -> None:
        """Remove the temporary folder; does nothing after `finish`."""
        with self._lock, contextlib.suppress(OSError):
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
        remove_folder(self._temporary)

    def _begin(self) -> None:
        """Write everything but the weights, and take the space."""
        model = self._description.model
        files = self._description.tokenizer
        config = genai_config(self._description)
        free = shutil.disk_usage(self._target.parent).free
        if free < self._layout.data_bytes:
            raise too_little_space(self._target, self._layout.data_bytes, free)
        write_tokenizer_files(files, self._temporary, context_length=model.context_length)
        (self._temporary / "genai_config.json").write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")
        graph = build_graph(model, self._layout, accuracy_level=ACCURACY_LEVEL)
        (self._temporary / MODEL_FILE).write_bytes(graph.SerializeToString(deterministic=True))
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(self._temporary / DATA_FILE, flags, 0o666)
        take_space(self._file, self._layout.data_bytes)
        for stored in self._layout.tables.values():
            at = 0
            for cosines, sines in stored.table.rows():
                self._place(cosines, stored.cos.offset + at)
                self._place(sines, stored.sin.offset + at)
                at += cosines.nbytes

    def _store_vector(self, stored: StoredVector, part: Part, chunk: RowChunk) -> None:
        values = chunk.rows.reshape(-1)
        if values.size != part.stop:
            raise _misfit(stored.vector.name, part, chunk, part.stop)
        if not np.isfinite(values).all():
            raise _not_finite(stored.vector.name, part, 0, values[np.newaxis])
        offset = stored.vector.offset
        self._place(values + np.float32(offset) if offset else values, stored.array.offset + 4 * part.at)
        self._came(_Piece(part, stored), 0, part.stop)

    def _store_matrix(self, stored: StoredMatrix, part: Part, chunk: RowChunk) -> None:
        start, stop = max(chunk.start, part.start), min(chunk.stop, part.stop)
        if start >= stop:
            return
        if chunk.rows.shape != (chunk.stop - chunk.start, stored.matrix.columns):
            raise _misfit(stored.matrix.name, part, chunk, stored.matrix.columns)
        rows = np.ascontiguousarray(chunk.rows[start - chunk.start : stop - chunk.start], dtype=np.float32)
        if not np.isfinite(rows).all():
            raise _not_finite(stored.matrix.name, part, start, rows)
        at = part.at + start - part.start
        if stored.precision is None:
            self._place_rows(rows, stored.codes, at)
        else:
            for array, values in zip(stored.arrays, stored.precision.quantize(rows), strict=False):
                assert values is not None
                self._place_rows(values, array, at)
        self._came(_Piece(part, stored), start, stop)

    def _place_rows(self, values: NDArray[np.generic], array: Initializer, at: int) -> None:
        self._place(values, array.offset + at * (array.bytes // array.shape[0]))

    def _place(self, values: NDArray[np.generic], offset: int) -> None:
        try:
            write_at(self._file, values, offset)
        except OSError as error:
            raise self._failed(error) from error

    def _came(self, piece: _Piece, start: int, stop: int) -> None:
        with self._lock:
            self._spans[_name(piece), piece.part].append((start, stop))

    def _check_complete(self) -> None:
        for (name, part), spans in self._spans.items():
            at = part.start
            for start, stop in sorted(spans):
                if start != at:
                    break
                at = stop
            if at != part.stop or sum(stop - start for start, stop in spans) != part.stop - part.start:
                raise CheckpointError(
                    f"{name}: rows {part.start:,} to {part.stop:,} of {part.source} did not come exactly once each: "
                    f"{len(spans):,} chunks came, which fit together up to row {at:,}",
                    next_step="check that the checkpoint is complete",
                )

    def _records(self) -> list[TensorRecord]:
        records = [
            TensorRecord(
                stored.matrix.name,
                (stored.matrix.rows, stored.matrix.columns),
                stored.precision.type if stored.precision else "float32",
                sum(array.bytes for array in stored.arrays),
            )
            for stored in self._layout.matrices.values()
        ]
        vectors = self._layout.vectors.values()
        return records + [TensorRecord(v.vector.name, (v.vector.size,), "float32", v.array.bytes) for v in vectors]

    def _failed(self, error: OSError) -> OutputError:
        return data_failed(self._target, error, self._layout.data_bytes)


def _name(piece: _Piece) -> str:
    return piece.stored.matrix.name if isinstance(piece.stored, StoredMatrix) else piece.stored.vector.name


def _misfit(name: str, part: Part, chunk: RowChunk, wanted: int) -> CheckpointError:
    shape = " × ".join(map(str, chunk.rows.shape))
    return CheckpointError(
        f"{name} needs {wanted:,} values a row from {part.source}; rows from {chunk.start:,} on came as {shape}",
        next_step="check that config.json belongs to these weights",
    )


def _not_finite(name: str, part: Part, start: int, rows: Float32Array) -> CheckpointError:
    row, column = np.argwhere(~np.isfinite(rows))[0]
    return CheckpointError(
        f"{name} has {rows[row, column]} at row {start + row:,}, column {column:,} (from {part.source!r}, merged)",
        next_step="the base or an adapter holds NaN or infinite weights: get them anew",
    )

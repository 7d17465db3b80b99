"""Writer of an ONNX folder from chunks of several threads, in any order, each written to its final position.

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
from edgeproof.export.artifact.data_file import data_failed, removed_on_failure, take_space, too_little_space, write_at
from edgeproof.export.artifact.folder import (
    commit_folder,
    made_at,
    refuse_existing_folder,
    remove_folder,
    temporary_folder,
)
from edgeproof.export.merge.row_checks import check_came_once, check_finite
from edgeproof.export.onnx.genai_config import MODEL_FILE, genai_config
from edgeproof.export.onnx.graph.decoder import ACCURACY_LEVEL, DATA_FILE, build_graph
from edgeproof.export.onnx.tokenizer_files import write_tokenizer_files
from edgeproof.export.onnx.weights.layout import StoredMatrix, StoredVector, plan_layout

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.tensors import RowChunk
    from edgeproof.export.onnx.description import OnnxDescription
    from edgeproof.export.onnx.weights.layout import Initializer
    from edgeproof.export.onnx.weights.places import Part
    from numpy.typing import NDArray


class _Piece(NamedTuple):
    """A part of a source tensor, and the array that it belongs to."""

    part: Part
    stored: StoredMatrix | StoredVector


class OnnxWriter:
    """A `Writer` for one folder: model.onnx, model.onnx.data, genai_config.json and the tokenizer's files.

    The data file is preallocated, so a full disk is detected before any computation. With `inside` the finished folder
    is left in that folder, under the target's name.

    Raises:
        OutputError: the target exists (without `force`) or is not an artifact, its folder is read-only, no space left.
        CheckpointError: no end-of-text token is defined.

    """

    def __init__(
        self,
        description: OnnxDescription,
        target: Path,
        scheme: str,
        *,
        shared_scales: bool = False,
        small_embedding: bool = False,
        inside: Path | None = None,
        force: bool = False,
    ) -> None:
        refuse_existing_folder(target, force=force)
        self._description = description
        self._target = target
        self._made = made_at(target, inside)
        self._force = force
        self._lock = threading.Lock()
        self._layout = plan_layout(description, scheme, shared_scales=shared_scales, small_embedding=small_embedding)
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
            self._temporary = temporary_folder(self._made)
        except OSError as error:
            raise write_failed(target, error) from error
        with removed_on_failure(self.abort, self._failed):
            self._begin()

    @property
    def matrices(self) -> tuple[StoredMatrix, ...]:
        """All matrices of the folder, with their stored types."""
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
        """Check that every row was written once, fsync, and rename the folder to its final name.

        Raises:
            CheckpointError: rows are missing or were written twice.
            OutputError: the disk is full, or the target was created in the meantime.

        """
        with removed_on_failure(self.abort, self._failed):
            for (name, part), spans in self._spans.items():
                check_came_once(spans, part.start, part.stop, name=name, source=part.source)
            os.close(self._file)
            self._file = -1
            commit_folder(self._temporary, self._made, force=self._force)
        return tuple(self._records())

    def abort(self) -> None:
        """Remove the temporary folder; does nothing after `finish`."""
        with self._lock, contextlib.suppress(OSError):
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
        remove_folder(self._temporary)

    def _begin(self) -> None:
        """Write everything except the weights, and preallocate the data file."""
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
        check_finite(values[np.newaxis], 0, name=stored.vector.name, source=part.source)
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
        check_finite(rows, start, name=stored.matrix.name, source=part.source)
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
        f"{name} needs {wanted:,} values per row from {part.source}; rows from {chunk.start:,} on are {shape}",
        next_step="check that config.json belongs to these weights",
    )

"""Streaming pass over the model: worker threads on all cores read, merge and write one chunk at a time.

```
  tensors in the checkpoint's order ── split in chunks ─▶ thread 1: rows ─▶ writer, writer …
                                                    └──▶ thread 2: rows ─▶ writer, writer …
```
Chunk bounds depend on the shapes only, so the bytes do not depend on the number of threads.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import CheckpointError
from edgeproof.contracts.tensors import CHUNK_BYTES, ModelDescription, RowChunk
from edgeproof.export.merge.blas import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.contracts.tensors import Checkpoint, TensorInfo, TensorRecord, Writer

TARGET_WEIGHTS = 2**19
"""Weights per chunk: 2 MB of float32, which stay in a core's cache from the merge to the kernel."""


def row_groups(description: ModelDescription) -> dict[str, int]:
    """Return the source tensors that `description` needs, each with its row group: chunk bounds are multiples of it."""
    groups: dict[str, int] = {}
    for tensor in description.tensors:
        if tensor.constant is None:
            groups[tensor.source] = math.lcm(groups.get(tensor.source, 1), tensor.row_group)
    return groups


def chunk_bounds(info: TensorInfo, group: int) -> Iterator[tuple[int, int]]:
    """Split a tensor's rows into chunks of about `TARGET_WEIGHTS`, at multiples of `group` rows.

    Raises:
        CheckpointError: one group of rows is larger than `CHUNK_BYTES`, or the rows are not a multiple of `group`.

    """
    if info.rows % group:
        raise CheckpointError(
            f"{info.name} has {info.rows:,} rows, which is not a multiple of {group:,}",
            next_step="check the number of heads in the base's config.json",
        )
    if 4 * group * info.columns > CHUNK_BYTES:
        raise CheckpointError(
            f"{info.name}: {group:,} rows of {info.columns:,} weights are more than {CHUNK_BYTES:,} bytes"
        )
    step = max(group, TARGET_WEIGHTS // info.columns // group * group)
    for start in range(0, info.rows, step):
        yield start, min(start + step, info.rows)


def run_stream(
    model: Checkpoint,
    writers: Sequence[Writer],
    needed: ModelDescription | Mapping[str, int],
    *,
    check: Callable[[], None] | None = None,
    threads: int | None = None,
    progress: Progress,
) -> list[tuple[TensorRecord, ...]]:
    """Stream the needed tensors from `model` to every writer, then finish the writers.

    Args:
        model: a checkpoint, or a merge over one.
        writers: any number; each is finished, or aborted on any error or interruption.
        needed: the writers' description; or the source tensors, each with the number that its chunks' rows are a
            multiple of.
        check: called after the last row and before any file has its final name; an exception aborts.
        threads: None for one per core available to this process.
        progress: receives bytes of float32.

    Returns:
        The records of each writer, in the order of `writers`.

    Raises:
        CheckpointError: `model` lacks a needed tensor.
        EdgeproofError: an error of reading, merging or writing; the first one, if several threads fail.

    """
    try:
        groups = row_groups(needed) if isinstance(needed, ModelDescription) else needed
        infos = _wanted(model, groups)
        jobs = [(info, *bounds) for info in infos for bounds in chunk_bounds(info, groups[info.name])]
        if jobs:  # none if an external tool writes all artifacts
            progress.start("Export", sum(4 * info.rows * info.columns for info in infos), "bytes")
        one_blas_thread()
        _keep_freed_pages()
        _Pass(model, writers, jobs, progress).run(threads or _cores())
        if check is not None:
            check()
        return [writer.finish() for writer in writers]
    except BaseException:
        for writer in writers:
            writer.abort()
        raise


class _Pass:
    """The remaining chunks, shared by the threads."""

    def __init__(
        self,
        model: Checkpoint,
        writers: Sequence[Writer],
        jobs: Iterable[tuple[TensorInfo, int, int]],
        progress: Progress,
    ) -> None:
        self._model = model
        self._writers = writers
        self._jobs = iter(jobs)
        self._progress = progress
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._stopped = False
        self._begun: list[threading.Event] = []

    def run(self, threads: int) -> None:
        """Process all chunks on `threads` threads; raise the first thread's exception, or the interruption."""
        ends = [threading.Event() for _ in range(threads)]
        try:
            for index, end in enumerate(ends):
                threading.Thread(target=self._work, args=(end,), name=f"export-{index}").start()
            for end in ends:
                end.wait()
        finally:
            # On an interruption the threads finish their current chunk within some ms; files may be removed only then.
            # (An interrupted Thread.join can report a running thread as ended, seen in 3.11; an interrupted
            # Thread.start does not show whether the thread runs. So each thread counts itself.)
            while not self._stop():
                pass
            for end in self._begun:
                while not end.is_set():
                    with contextlib.suppress(KeyboardInterrupt):
                        end.wait()
        if self._failure is not None:
            raise self._failure

    def _stop(self) -> bool:
        """Stop the threads from taking another chunk; False if a second interruption intervened."""
        with contextlib.suppress(KeyboardInterrupt), self._lock:
            self._stopped = True
        return self._stopped

    def _begin(self, end: threading.Event) -> bool:
        with self._lock:
            if not self._stopped:
                self._begun.append(end)
            return not self._stopped

    def _work(self, end: threading.Event) -> None:
        try:
            if not self._begin(end):
                return
            while (job := self._next()) is not None:
                info, start, stop = job
                chunk = RowChunk(info.name, start, stop, self._model.rows(info.name, start, stop))
                for writer in self._writers:
                    writer.write(chunk)
                self._progress.advance(4 * (stop - start) * info.columns)
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            with self._lock:
                self._failure = self._failure or error
                self._stopped = True
        finally:
            end.set()

    def _next(self) -> tuple[TensorInfo, int, int] | None:
        with self._lock:
            return None if self._stopped else next(self._jobs, None)


def _wanted(model: Checkpoint, names: Iterable[str]) -> list[TensorInfo]:
    names = dict.fromkeys(names)
    missing = [name for name in names if name not in model.tensors]
    if missing:
        raise CheckpointError(
            f"{model.path} lacks {len(missing)} tensors required by its configuration, the first: {missing[0]}",
            next_step="download the checkpoint again, all shards",
        )
    return [info for name, info in model.tensors.items() if name in names]


def _keep_freed_pages() -> None:
    """Make glibc keep the memory of one chunk for the next.

    glibc returns freed blocks to the kernel above a limit that follows the largest block freed so far (mallopt(3),
    M_MMAP_THRESHOLD). Chunks are just above it: the kernel would zero each of them again, a fifth of the total time.
    Freeing one block of 16 MB raises the limit to 32 MB per thread. It has no effect on other allocators.
    """
    np.empty(2**24, np.uint8)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

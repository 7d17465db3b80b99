"""One pass over the model: every chunk once, to every writer; whatever goes wrong, nothing is left."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from edgeproof.contracts.errors import CheckpointError, OutputError
from edgeproof.contracts.progress import Silent
from edgeproof.contracts.tensors import ModelDescription, OutputTensor, TensorInfo
from edgeproof.export import stream
from edgeproof.export.stream import chunk_bounds, row_groups, run_stream


class Model:
    """Two matrices and a vector; counts what is read of them."""

    path = Path("in-memory")

    def __init__(self, rows=40):
        self.config = {}
        self.tensors = {
            name: TensorInfo(name, shape, "F32") for name, shape in {"a": (rows, 8), "b": (5,), "c": (2, 3, 4)}.items()
        }
        self.read = []

    def rows(self, name, start, stop):
        self.read.append((name, start, stop))
        return np.full((stop - start, self.tensors[name].columns), start, np.float32)


class Recorder:
    """A writer that remembers."""

    def __init__(self, fail=None):
        self.chunks, self.finished, self.aborted, self.threads = [], False, False, set()
        self._fail = fail

    def write(self, chunk):
        self.threads.add(threading.get_ident())
        if self._fail and chunk.name == "c":
            raise self._fail
        self.chunks.append((chunk.name, chunk.start, chunk.stop))

    def finish(self):
        self.finished = True
        return ()

    def abort(self):
        self.aborted = True


class Counter(Silent):
    def start(self, task, total, unit):
        self.task, self.total, self.done, self.unit = task, total, 0, unit

    def advance(self, done):
        self.done += done


TENSORS = tuple(
    OutputTensor(name.upper(), name, shape) for name, shape in {"a": (40, 8), "b": (5,), "c": (6, 4)}.items()
)
DESCRIPTION = ModelDescription("x", (), TENSORS)


def test_every_row_goes_to_every_writer_once_and_is_read_once(monkeypatch):
    monkeypatch.setattr(stream, "TARGET_WEIGHTS", 32)
    model, writers, progress = Model(), [Recorder(), Recorder()], Counter()
    assert run_stream(model, writers, DESCRIPTION, threads=2, progress=progress) == [(), ()]
    chunks = sorted(model.read)
    assert chunks == [("a", start, start + 4) for start in range(0, 40, 4)] + [("b", 0, 1), ("c", 0, 6)]
    assert all(sorted(writer.chunks) == chunks and writer.finished and not writer.aborted for writer in writers)
    assert (progress.done, progress.unit) == (progress.total, "bytes")
    assert progress.total == 4 * (320 + 5 + 24)


def test_tensors_that_no_output_needs_are_not_read():
    model = Model()
    constant = OutputTensor("C", "", (3,), constant=np.ones(3, np.float32))
    run_stream(model, [Recorder()], ModelDescription("x", (), (TENSORS[1], constant)), progress=Silent())
    assert model.read == [("b", 0, 1)]


def test_chunks_are_whole_groups_and_groups_of_shared_sources_agree(monkeypatch):
    monkeypatch.setattr(stream, "TARGET_WEIGHTS", 64)
    twice = (OutputTensor("A", "a", (36, 8), row_group=4), OutputTensor("A2", "a", (36, 8), row_group=6))
    assert row_groups(ModelDescription("x", (), twice)) == {"a": 12}
    assert list(chunk_bounds(TensorInfo("a", (36, 8), "F32"), 12)) == [(0, 12), (12, 24), (24, 36)]
    assert list(chunk_bounds(TensorInfo("a", (36, 1), "F32"), 12)) == [(0, 36)]
    with pytest.raises(CheckpointError, match="36 rows, which is not a multiple of 16"):
        list(chunk_bounds(TensorInfo("a", (36, 8), "F32"), 16))


def test_no_chunk_is_larger_than_the_contract_says():
    for shape in [(262144, 2304), (3, 2**23), (1, 2**24), (7,), (128, 4, 4096)]:
        info = TensorInfo("a", shape, "BF16")
        bounds = list(chunk_bounds(info, 1))
        assert bounds[0][0] == 0
        assert bounds[-1][1] == info.rows
        assert all(4 * (stop - start) * info.columns <= 64 * 2**20 for start, stop in bounds)
    with pytest.raises(CheckpointError, match="are more than 67,108,864 bytes"):
        list(chunk_bounds(TensorInfo("a", (4, 2**23), "F32"), 4))


def test_an_error_in_one_writer_aborts_all(monkeypatch):
    monkeypatch.setattr(stream, "TARGET_WEIGHTS", 32)
    writers = [Recorder(), Recorder(OutputError("full"))]
    with pytest.raises(OutputError, match="full"):
        run_stream(Model(), writers, DESCRIPTION, threads=2, progress=Silent())
    assert all(writer.aborted and not writer.finished for writer in writers)


def test_an_error_while_reading_aborts_all():
    model = Model()
    model.rows = None
    writer = Recorder()
    with pytest.raises(TypeError):
        run_stream(model, [writer], DESCRIPTION, threads=3, progress=Silent())
    assert writer.aborted


def test_a_check_that_fails_after_the_last_row_aborts_all():
    model, writer = Model(), Recorder()

    def check():
        assert len(writer.chunks) == 3
        assert not writer.finished
        raise CheckpointError("nothing changed")

    with pytest.raises(CheckpointError, match="nothing changed"):
        run_stream(model, [writer], DESCRIPTION, check=check, progress=Silent())
    assert writer.aborted
    assert not writer.finished


def test_a_missing_tensor_is_named_and_nothing_is_begun():
    writer = Recorder()
    description = ModelDescription("x", (), (*TENSORS, OutputTensor("D", "d", (1,))))
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors .* the first: d"):
        run_stream(Model(), [writer], description, progress=Silent())
    assert writer.aborted


def test_an_interruption_ends_the_threads_and_then_aborts(monkeypatch):
    monkeypatch.setattr(stream, "TARGET_WEIGHTS", 8)
    model, writer = Model(rows=4000), Recorder()
    plain, run = model.rows, stream._Pass.run
    passes = []

    def watched(self, threads):
        passes.append(self)
        run(self, threads)

    def slow(name, start, stop):
        if start == 4:
            os.kill(os.getpid(), signal.SIGINT)
        while start >= 4 and not passes[0]._stopped:
            time.sleep(0.002)  # the chunk in hand takes until the interruption is heard
        return plain(name, start, stop)

    monkeypatch.setattr(stream._Pass, "run", watched)
    model.rows = slow
    description = ModelDescription("x", (), (OutputTensor("A", "a", (4000, 8)),))
    with pytest.raises(KeyboardInterrupt):
        run_stream(model, [writer], description, threads=2, progress=Silent())
    read = len(model.read)
    for thread in threading.enumerate():
        if thread.name.startswith("export-"):
            thread.join()
    assert writer.aborted
    assert len(model.read) == read <= 4 + 2

"""Pipes in the place of files: one with a writer is read, a silent or endless one is refused, and nothing hangs."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest
from edgeproof.contracts import parsing
from edgeproof.contracts.errors import EdgeproofError
from edgeproof.contracts.parsing import read_file
from edgeproof.eval.attestation import read_private_key, read_signed
from edgeproof.eval.authoring.data.rows import read_rows
from edgeproof.eval.baselines.file import load_baselines
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.report.disclosure import read_disclosure
from edgeproof.eval.report.read import read_report
from edgeproof.eval.verdict.policy import read_policy
from edgeproof.export.adapter.config import read_config
from edgeproof.export.artifact.kind import identify_format
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.gguf.imatrix import read_imatrix
from edgeproof.release.steps.arguments import pack_identity


@pytest.fixture
def pipe(tmp_path, monkeypatch):
    monkeypatch.setattr(parsing, "SILENCE", 0.2)
    os.mkfifo(tmp_path / "pipe.jsonl")
    return tmp_path / "pipe.jsonl"


def writing(path, content):
    def write():
        path.write_bytes(content)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@pytest.mark.parametrize("content", [b"x" * 300_000, b"one line\n", b""])
def test_what_is_written_to_a_pipe_is_read(pipe, monkeypatch, content):
    monkeypatch.setattr(parsing, "SILENCE", 60)
    thread = writing(pipe, content)
    assert read_file(pipe) == content
    thread.join()


def test_a_shells_process_substitution_is_read():
    reading, writing_end = os.pipe()
    os.write(writing_end, b"policy")
    os.close(writing_end)
    try:
        assert read_file(Path(f"/dev/fd/{reading}")) == b"policy"
    finally:
        os.close(reading)


def test_a_pipe_without_an_end_is_refused(pipe, monkeypatch):
    monkeypatch.setattr(parsing, "LONGEST_PIPE", 100_000)
    monkeypatch.setattr(parsing, "SILENCE", 60)

    def write():
        with pipe.open("wb", buffering=0) as file, contextlib.suppress(BrokenPipeError):
            while True:
                file.write(b"x" * 4096)

    thread = threading.Thread(target=write)
    thread.start()
    with pytest.raises(OSError, match="it is a pipe with more than"):
        read_file(pipe)
    thread.join()


def in_a_folder(read, name):
    """`read` of a folder whose file `name` is the pipe."""

    def do(pipe):
        pipe.rename(pipe.with_name(name))
        return read(pipe.parent)

    return do


READERS = {
    "config.json": in_a_folder(open_checkpoint, "config.json"),
    "adapter_config.json": in_a_folder(read_config, "adapter_config.json"),
    "baseline": load_baselines,
    "policy": read_policy,
    "pack": load_pack,
    "pack.toml": in_a_folder(load_pack, "pack.toml"),
    "report": read_report,
    "signature": lambda pipe: read_signed(pipe, pipe),
    "private key": read_private_key,
    "pack key": pack_identity,
    "disclosure": read_disclosure,
    "importance matrix": read_imatrix,
    "data": lambda pipe: list(read_rows(pipe)),
    "artifact": identify_format,
}


@pytest.mark.parametrize("name", READERS)
def test_a_silent_pipe_is_refused_in_the_place_of(pipe, name):
    with pytest.raises(EdgeproofError) as caught:
        READERS[name](pipe)
    assert caught.value.next_step

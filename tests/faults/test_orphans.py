"""No process that a command has started outlives it, however the command ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest
from edgeproof.export.converter import SCRIPT
from edgeproof_tests.models import save_model


@pytest.fixture
def lifeline(tmp_path):
    """A pipe with a name: whoever opens it holds it open until its end."""
    path = tmp_path / "lifeline"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reading
    os.close(reading)


def wait_for_start(reading: int) -> None:
    select.select([reading], [], [])
    assert os.read(reading, 100) == b"started"


def wait_for_end(reading: int) -> None:
    """Return when no process holds the pipe; where one lives on, pytest's time limit tells."""
    select.select([reading], [], [])
    assert os.read(reading, 1) == b""


@pytest.mark.torch
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_converter_ends_with_the_export_that_started_it(lifeline, tmp_path, sent):
    path, reading = lifeline
    base = save_model("qwen3", tmp_path / "tiny", hidden_size=64, intermediate_size=128, num_hidden_layers=1)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / SCRIPT).write_text(f"""
import time
with open({str(path)!r}, "w") as told:  # open as long as this process lives
    told.write("started")
    told.flush()
    time.sleep(3600)
""")
    command = ("--base", base, "--format", "gguf-q8_0", "--out", tmp_path / "out", "--converter", checkout, "--quiet")
    process = subprocess.Popen([sys.executable, "-P", "-m", "edgeproof.cli", *map(str, command)])
    try:
        wait_for_start(reading)
        process.send_signal(sent)
        wait_for_end(reading)
        assert process.wait() == (-9 if sent is signal.SIGKILL else 130)
    finally:
        process.kill()
        process.wait()


def test_the_engine_that_tokenizes_ends_with_its_parent(tmp_path):
    """The parent holds stdin open, as a parent does; its end, whatever the engine is doing, ends the engine."""
    vocabulary = tmp_path / "endless.gguf"
    os.mkfifo(vocabulary)  # opening it waits for a writer: native code that does not come back
    command = [sys.executable, "-P", "-m", "edgeproof.export.tokenizer.engine", str(vocabulary)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdin.write(b"[]\n")
        process.stdin.flush()
        assert not select.select([process.stdout], [], [], 0)[0]
        process.stdin.close()
        assert process.wait() == 1
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

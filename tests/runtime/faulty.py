"""Backends with the faults of native code, loaded by the real child process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

from edgeproof.contracts.backend import ModelInfo
from edgeproof.runtime.batching.workers import Workers
from edgeproof.runtime.process.child import SEND_AFTER_SECONDS
from edgeproof.runtime.process.wire import Message, encode


class Faulty:
    """Backend whose `score` has the fault named by its artifact."""

    def __init__(self, artifact, *, beat, **_options):
        self.fault = artifact.name
        if self.fault == "crash on loading":
            ctypes.string_at(0)
        self.info = ModelInfo("faulty", "0", "none", 100, 64, "0", None, None, {})
        self.beat = beat

    def score(self, _requests):
        sys.stderr.write("the last words\n")
        sys.stderr.flush()
        if self.fault == "segfault":
            ctypes.string_at(0)
        elif self.fault == "abort":
            os.abort()
        elif self.fault == "exit":
            os._exit(7)
        elif self.fault == "hang":
            self._show_life()
            time.sleep(3600)
        elif self.fault.startswith("one worker"):
            self._show_life()
            Workers(3, _Faults, self.beat).run(lambda worker: worker.break_down(self.fault))
        elif self.fault == "slow but alive":
            for _ in range(3):
                self._show_life()
        elif self.fault == "memory":
            raise MemoryError
        elif self.fault == "print":
            ctypes.CDLL(None).puts(b"native code prints")
            ctypes.CDLL(None).fflush(None)
            print("so does Python")  # noqa: T201
        elif self.fault == "garbage":
            _write_to_the_pipe(b"no message at all")
            time.sleep(600)
        elif self.fault == "killed within a message":
            _write_to_the_pipe(encode(Message("done", {"a field": "x" * 300}))[:100])
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.fault == "killed within a message's start":
            _write_to_the_pipe(encode(Message("done", {}))[:5])
            os.kill(os.getpid(), signal.SIGKILL)
        return iter(())

    def _show_life(self):
        time.sleep(1.1 * SEND_AFTER_SECONDS)  # beats that follow one another too soon are not sent
        self.beat()

    def tokenize(self, _text, **_options):
        return (1, 2, 3)


class _Faults:
    """Workers, the third of which hangs or crashes while the others run for a second."""

    made = 0

    def __init__(self, beat):
        self.beat = beat
        _Faults.made += 1
        self.number = _Faults.made

    def break_down(self, fault):
        if self.number < 3:
            for _ in range(4):
                time.sleep(0.25)
                self.beat()
        elif fault == "one worker hangs":
            time.sleep(600)
        else:
            ctypes.string_at(0)


def _write_to_the_pipe(data):
    """Write to the descriptor of the messages."""
    for descriptor in range(3, 10):
        try:
            os.write(descriptor, data)
        except OSError:
            continue

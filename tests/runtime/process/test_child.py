"""What must hold when the child process dies, hangs, babbles, or its parent does."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from edgeproof.contracts.backend import ScoreRequest
from edgeproof.contracts.errors import ArtifactError, BackendError, InputError, UsageError
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime import open_backend
from edgeproof.runtime.process.child_process import ChildProcess, HungError
from edgeproof.runtime.process.parent import ChildBackend

HERE = Path(__file__).parents[1]
REQUEST = [ScoreRequest((1,), (2,))]
LONG = [ScoreRequest(tuple(range(index % 5, 200 + index % 5)), (1,) * (1 + index % 50)) for index in range(500)]
# Over 10 s of work that nothing shortens, where a test is to end it, and little before the first result.
ENDLESS = [ScoreRequest((index % 250, index // 250, *range(20)), (1,)) for index in range(20_000)]


@pytest.fixture
def faulty(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)

    def make(fault, timeout=60.0):
        backend = ChildBackend("faulty:Faulty", Path(fault))
        backend._child.timeout = timeout  # of scoring alone: a slow machine takes its time to start an interpreter
        return backend

    return make


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("segfault", "signal 11, SIGSEGV"),
        ("abort", "signal 6, SIGABRT"),
        ("exit", "exit status 7"),
        ("killed within a message", "signal 9, SIGKILL"),
        ("killed within a message's start", "signal 9, SIGKILL"),
        ("garbage", "sent b'no messa' instead of a message"),
    ],
)
def test_a_dying_child_is_an_error_with_its_last_words(faulty, fault, told):
    with faulty(fault) as backend, pytest.raises(BackendError) as caught:
        list(backend.score(REQUEST))
    assert told in str(caught.value)
    assert "the last words" in str(caught.value)


def test_a_crash_on_loading_is_an_error(faulty):
    with pytest.raises(BackendError, match="SIGSEGV"):
        faulty("crash on loading")


class Inbox:
    """The child's messages, each as late as the machine lets it be; after `ending`, within the limit that was set.

    While the parent waits for the message of number `interrupted`, it gets SIGINT.
    """

    def __init__(self, backend, *, ending=None, interrupted=None):
        self.inner, self.limits, self.ending, self.interrupted = backend._child._inbox, [], ending, interrupted
        backend._child._inbox = self

    def get(self, timeout):
        self.limits.append(timeout)
        if len(self.limits) == self.interrupted:
            signal.raise_signal(signal.SIGINT)
        ended = self.ending is not None and len(self.limits) > self.ending
        return self.inner.get(timeout=timeout if ended else None)


def test_a_hanging_child_is_killed_at_the_time_limit(faulty):
    """It says its last words, beats once, and hangs: nothing after the beat is waited for longer than the limit."""
    with faulty("hang", timeout=0.3) as backend:
        process = backend.process_id
        Inbox(backend, ending=1)
        with pytest.raises(BackendError, match=r"for 0.3 s and was killed; its last output: the last words"):
            list(backend.score(REQUEST))
    assert not _alive(process)


def test_one_hanging_worker_of_several_counts_as_hanging(faulty):
    with (
        faulty("one worker hangs", timeout=3.0) as backend,
        pytest.raises(BackendError, match="no progress for 3 s and was killed"),
    ):
        list(backend.score(REQUEST))


def test_a_crash_in_one_worker_of_several_is_an_error(faulty):
    with faulty("one worker crashes") as backend, pytest.raises(BackendError, match="signal 11, SIGSEGV"):
        list(backend.score(REQUEST))


def test_a_slow_child_that_shows_progress_lives(faulty):
    """Each of its 3 signs of life begins the time limit anew."""
    with faulty("slow but alive", timeout=2.0) as backend:
        inbox = Inbox(backend)
        with pytest.raises(BackendError, match="0 of 1 requests"):
            list(backend.score(REQUEST))
        assert inbox.limits == [2.0] * (3 + 1)


def test_running_out_of_memory_is_an_error_and_the_child_lives(faulty):
    with faulty("memory") as backend:
        with pytest.raises(BackendError, match="out of memory"):
            list(backend.score(REQUEST))
        assert backend.tokenize("x", special=False) == (1, 2, 3)


def test_what_native_code_prints_does_not_disturb_the_messages(faulty):
    with faulty("print") as backend:
        with pytest.raises(BackendError, match="0 of 1 requests"):
            list(backend.score(REQUEST))
        assert backend.tokenize("x", special=False) == (1, 2, 3)


@pytest.mark.parametrize("threads", [1, 2])
def test_kill_9_while_scoring(tiny_file, threads):
    with open_backend("llama.cpp", tiny_file("F32"), threads=threads) as backend:
        results = backend.score(ENDLESS)
        next(results)
        os.kill(backend.process_id, signal.SIGKILL)
        with pytest.raises(BackendError, match="signal 9, SIGKILL"):
            list(results)
        with pytest.raises(BackendError, match="closed"):
            backend.tokenize("x", special=False)


def test_a_stopped_child_counts_as_hanging(tiny_file):
    with open_backend("llama.cpp", tiny_file("F32"), threads=1) as backend:
        backend._child.timeout = 0.3  # of scoring alone: it is never answered
        os.kill(backend.process_id, signal.SIGSTOP)
        with pytest.raises(BackendError, match="no progress"):
            list(backend.score(REQUEST))


def test_the_child_ends_with_the_context_and_with_the_object(tiny_file):
    with open_backend("llama.cpp", tiny_file("F32"), threads=1) as backend:
        first = backend.process_id
    assert not _alive(first)
    forgotten = open_backend("llama.cpp", tiny_file("F32"), threads=1)
    second = forgotten.process_id
    del forgotten, backend
    gc.collect()
    assert not _alive(second)


def test_the_child_ends_when_its_parent_is_killed(tiny_file):
    script = (
        "import sys, time; from pathlib import Path; from edgeproof.runtime import open_backend\n"
        "from edgeproof.contracts.backend import ScoreRequest\n"
        "backend = open_backend('llama.cpp', Path(sys.argv[1]), threads=1)\n"
        "print(backend.process_id, flush=True)\n"
        "list(backend.score([ScoreRequest((i % 250,) * 300, (2,) * 200) for i in range(100000)]))\n"
    )
    command = [sys.executable, "-P", "-c", script, str(tiny_file("F32"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _alive(child)
        parent.kill()
    while _alive(child):  # pytest's own limit ends this
        time.sleep(0.05)


def test_an_interrupt_ends_the_child_at_once(tiny_file):
    with open_backend("llama.cpp", tiny_file("F32"), threads=1) as backend:
        child = backend.process_id
        results = backend.score(ENDLESS)
        next(results)
        Inbox(backend, interrupted=3)
        with pytest.raises(KeyboardInterrupt):
            list(results)
        assert not _alive(child)


@pytest.mark.parametrize("silent", [False, True])
def test_whoever_waits_can_give_up_at_once(tiny_file, silent):
    """Also while the child says nothing for as long as a large model's step takes."""

    class GivenUpError(Exception):
        pass

    def beat():
        if tired:
            raise GivenUpError

    tired = False
    with open_backend("llama.cpp", tiny_file("F32"), threads=1, beat=beat) as backend:
        child = backend.process_id
        results = backend.score(ENDLESS)
        next(results)
        if silent:
            os.kill(child, signal.SIGSTOP)
        tired = True
        with pytest.raises(GivenUpError):
            list(results)
        assert not _alive(child)


@pytest.mark.usefixtures("faulty")
def test_a_beat_does_not_lengthen_the_time_limit():
    beats = []
    backend = ChildBackend("faulty:Faulty", Path("hang"), beat=lambda: beats.append(1))
    backend._child.timeout = 0.5
    with backend, pytest.raises(HungError, match=r"for 0.5 s and was killed"):
        list(backend.score(REQUEST))
    assert len(beats) > 2


@pytest.mark.parametrize("threads", [1, 2])
def test_a_dropped_stream_is_cancelled_and_the_backend_goes_on(tiny_file, threads):
    with open_backend("llama.cpp", tiny_file("F32"), threads=threads) as backend:
        wanted = list(backend.score(LONG[:3]))
        results = backend.score(ENDLESS)
        next(results)
        results.close()
        again = list(backend.score(LONG[:3]))
        assert all((one.logprobs == two.logprobs).all() for one, two in zip(wanted, again, strict=True))


def test_asking_between_results_loses_none(tiny_file):
    with open_backend("llama.cpp", tiny_file("F32"), threads=1) as backend:
        results = backend.score(LONG[:100])
        next(results)
        assert backend.detokenize(backend.tokenize("the thing", special=False)) == "the thing"
        assert len(list(results)) == 99


def test_a_request_longer_than_the_context_is_refused_before_anything_is_computed(tiny_file):
    with open_backend("llama.cpp", tiny_file("F32"), context_length=64, threads=1) as backend:
        assert backend.info.context_length == 64
        with pytest.raises(InputError, match=r"request 1 is 65 tokens long, the context holds 64"):
            backend.score([ScoreRequest((1,) * 63, (1,)), ScoreRequest((1,) * 64, (1,))])


def test_an_unknown_backend_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"llama\.cpp"):
        open_backend("magic", tmp_path)


def test_each_bad_file_has_its_own_error(tiny_file, tmp_path):
    good = tiny_file("F32").read_bytes()
    (tmp_path / "words.gguf").write_text("no model at all")
    (tmp_path / "header.gguf").write_bytes(good[:3000])
    (tmp_path / "weights.gguf").write_bytes(good[: len(good) // 2])
    expected = {
        "missing.gguf": "no such file",
        "words.gguf": "is not a GGUF file",
        "header.gguf": "is not a complete GGUF file",
        "weights.gguf": "should lie at bytes",
    }
    for name, told in expected.items():
        with pytest.raises(ArtifactError, match=told):
            open_backend("llama.cpp", tmp_path / name, threads=1)


def _alive(process: int) -> bool:
    """Whether the process exists and is no zombie of somebody else's."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_parent_that_cannot_start_a_thread_leaves_no_child(monkeypatch):
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    started = []
    start = subprocess.Popen

    def popen(*given, **options):
        started.append(start(*given, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(BackendError, match="can't start new thread"):
        ChildProcess(60.0, no_beat)
    assert started[0].returncode == -signal.SIGKILL

"""Parent side: a `Backend` in a child process, so that crashes and hangs in native code do not affect this process.

The child is a fresh interpreter (not a fork, which threads and native state do not survive). It ends with the context
manager, this object, or this process, whichever ends first.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import deque
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, TypeVar

import numpy as np
from edgeproof.contracts import errors
from edgeproof.contracts.errors import BackendError, EdgeproofError
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.batching.requests import check_generations, check_scores, check_stream
from edgeproof.runtime.opened import OpenedBackend
from edgeproof.runtime.process import packing
from edgeproof.runtime.process.wire import Message, MessageCutShortError, encode, receive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.backend import GenerateRequest, Generation, Score, ScoreRequest, Step

DEFAULT_TIMEOUT = 300.0
"""Time limit without progress, in seconds. One step computes at most 512 tokens: one to two minutes for a 7B model on
two cores."""

CHILD_ENVIRONMENT = {
    "GGML_NO_BACKTRACE": "1",  # a failed assertion must not start a debugger
    "GOMP_SPINCOUNT": "20000",  # waiting threads yield their core soon: spinning is costly on a shared machine
    "OPENBLAS_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # it would leave a session file in the temporary folder
    "TQDM_DISABLE": "1",  # keep progress bars out of the last output
}
BEAT_SECONDS = 0.2
LAST_WORDS = 2000
EXIT_SECONDS = 5.0

Result = TypeVar("Result")


class HungError(BackendError):
    """The child showed no progress within its time limit."""


class ChildBackend(OpenedBackend):
    """`Backend` in a child process.

    Args:
        factory: "module:class" of the backend to create in the child.
        artifact: the artifact to load.
        lora: an adapter beside it.
        context_length: maximum tokens of a request.
        threads: number of computing threads.
        options: backend-specific options, by name.
        timeout: seconds without progress after which the child is killed.
        beat: called every `BEAT_SECONDS` while this process waits for the child; may raise, which kills the child.

    Raises:
        EdgeproofError: an error of the backend while loading.
        BackendError: the child crashed or hung while loading.

    """

    def __init__(
        self,
        factory: str,
        artifact: Path,
        *,
        lora: Path | None = None,
        context_length: int | None = None,
        threads: int | None = None,
        options: Mapping[str, int | str] = MappingProxyType({}),
        timeout: float = DEFAULT_TIMEOUT,
        beat: Callable[[], None] = no_beat,
    ) -> None:
        self._timeout, self._beat = timeout, beat
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `_end`)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-X", "faulthandler", "-m", "edgeproof.runtime.process.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**CHILD_ENVIRONMENT, **os.environ},
            process_group=0,  # Ctrl-C reaches this process, which ends the child
        )
        self._inbox: queue.Queue[Message | BackendError | None] = queue.Queue()
        reader = threading.Thread(target=_listen, args=(self._process.stdout, self._inbox), daemon=True)
        reader.start()
        self._finalizer = weakref.finalize(self, _end, self._process, self._log, reader)
        self._job: _Job | None = None
        fields = {
            "factory": factory,
            "artifact": str(artifact.absolute()),
            "lora": None if lora is None else str(lora.absolute()),
            "context_length": context_length,
            "threads": threads,
            "options": dict(options),
        }
        try:
            self._send(Message("open", fields))
            self._info = packing.unpack_info(self._receive("info"))
        except BaseException:
            self.close()
            raise

    @property
    def process_id(self) -> int:
        """The child's process id."""
        return self._process.pid

    def close(self) -> None:
        """End the child and wait for it; repeated calls have no effect."""
        self._finalizer()

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        """Token ids of `text`; a BOS at the beginning of `text` is never doubled."""
        fields = {"text": text, "special": special, "parse_special": parse_special}
        tokens = self._ask(Message("tokenize", fields))["tokens"]
        assert isinstance(tokens, list)
        return tuple(tokens)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of `tokens` without special tokens; invalid UTF-8 becomes U+FFFD."""
        return str(self._ask(Message("detokenize", {}, (np.array(tokens, np.int32),)))["text"])

    def render_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """Render `messages` with the artifact's own template; tokenize it with `special=True, parse_special=True`."""
        fields = {
            "messages": [dict(message) for message in messages],
            "add_generation_prompt": add_generation_prompt,
        }
        return str(self._ask(Message("render_chat", fields))["text"])

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Score each request; all are checked before the first is computed."""
        check_scores(requests, self._info.context_length, self._info.vocabulary)
        message = packing.pack_score_requests(requests)
        return self._stream(message, packing.unpack_scores, len(requests))

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Continue each request; all are checked before the first is computed."""
        check_generations(requests, self._info.context_length, self._info.vocabulary)
        message = packing.pack_generate_requests(requests)
        return self._stream(message, packing.unpack_generations, len(requests))

    def stream(self, request: GenerateRequest, watched: Sequence[tuple[int, ...]] = ()) -> Iterator[Step]:
        """Continue one request token by token, and score `watched` at each position."""
        check_stream(request, watched, self._info.context_length, self._info.vocabulary)
        return self._steps(packing.pack_stream_request(request, watched))

    def _steps(self, message: Message) -> Iterator[Step]:
        finish = ""
        with contextlib.closing(self._stream(message, packing.unpack_steps)) as steps:
            for step in steps:
                finish = step.finish
                yield step
        if not finish:
            raise BackendError("the child process ended a reply without a reason")

    def _stream(
        self, message: Message, unpack: Callable[[Message], Iterable[Result]], expected: int | None = None
    ) -> Generator[Result]:
        """Start a job at the first `next`, and yield its results as they arrive."""
        self._settle()
        ready: deque[Result] = deque()
        job = self._job = _Job(lambda results: ready.extend(unpack(results)))
        self._send(message)
        yielded = 0
        try:
            while not job.ended or ready:
                if ready:
                    yielded += 1
                    yield ready.popleft()
                else:
                    self._pump(job)
        except GeneratorExit:
            self._cancel(job)
            raise
        except EdgeproofError:
            raise
        except BaseException:
            self.close()  # interrupted: do not wait for the job
            raise
        if expected is not None and yielded != expected:
            raise BackendError(f"the child process answered {yielded:,} of {expected:,} requests")

    def _ask(self, message: Message) -> Mapping[str, object]:
        self._settle()
        self._send(message)
        return self._receive("done").fields

    def _settle(self) -> None:
        """Complete a running job; its results are kept for its iterator."""
        while self._job is not None and not self._job.ended:
            self._pump(self._job)
        self._job = None

    def _pump(self, job: _Job) -> None:
        """Receive one message of a job."""
        try:
            message = self._receive("scores", "generations", "steps", "done", "cancelled")
        except BaseException:
            job.ended = True
            raise
        if message.kind in {"done", "cancelled"}:
            job.ended = True
        else:
            job.take(message)

    def _cancel(self, job: _Job) -> None:
        """Tell the child to cancel a job, and wait until it has."""
        if job.ended or not self._finalizer.alive:
            return
        self._send(Message("cancel", {}))
        job.take = _ignore
        while not job.ended:
            self._pump(job)

    def _send(self, message: Message) -> None:
        if not self._finalizer.alive:
            raise BackendError("the backend is closed")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(encode(message))
            self._process.stdin.flush()
        except (BrokenPipeError, ConnectionError):
            raise self._died() from None

    def _receive(self, *kinds: str) -> Message:
        """Wait for the next message other than a beat."""
        while True:
            message = self._next()
            if message is None or isinstance(message, MessageCutShortError):
                raise self._died()
            if isinstance(message, BackendError):
                raise self._garbled(message)
            if message.kind == "error":
                raise _rebuilt(message)
            if message.kind in kinds:
                return message
            if message.kind != "beat":
                raise self._garbled(BackendError(f"the child process sent {message.kind!r}, not {' or '.join(kinds)}"))

    def _next(self) -> Message | BackendError | None:
        """Wait for what the reader puts into the inbox, and beat meanwhile."""
        left, part = self._timeout, self._timeout if self._beat is no_beat else BEAT_SECONDS
        while left > 0:
            self._beat()
            with contextlib.suppress(queue.Empty):
                return self._inbox.get(timeout=min(left, part))
            left -= part
        raise self._hung()

    def _died(self) -> BackendError:
        try:
            status = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return self._garbled(BackendError("the child process closed its output but is still running"))
        words = self._last_words()
        self.close()
        return BackendError(
            f"the backend's process died: {_describe(status)}{words}",
            next_step="free memory, or lower the context length, and run again; if it fails again, report it",
        )

    def _hung(self) -> HungError:
        words = self._last_words()
        self.close()
        return HungError(
            f"the backend's process showed no progress for {self._timeout:g} s and was killed{words}",
            next_step="raise the time limit if the machine is slow or busy",
        )

    def _garbled(self, error: BackendError) -> BackendError:
        words = self._last_words()
        self.close()
        return BackendError(f"{error.message}; it was killed{words}", next_step="run again; if it recurs, report it")

    def _last_words(self) -> str:
        """Return the tail of the child's stderr, on one line."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - LAST_WORDS))
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        text = " | ".join(line.strip() for line in lines if line.strip())
        return f"; its last output: {text}" if text else "; it printed nothing"


class _Job:
    """A running stream of results. `take` stores a message of results."""

    def __init__(self, take: Callable[[Message], None]) -> None:
        self.take = take
        self.ended = False


def _ignore(_message: Message) -> None:
    """Drop the results of a cancelled job."""


def _rebuilt(message: Message) -> EdgeproofError:
    """Reconstruct the child's error by its class name."""
    kind = getattr(errors, str(message.fields["type"]), BackendError)
    known = isinstance(kind, type) and issubclass(kind, EdgeproofError)
    made: type[EdgeproofError] = kind if known else BackendError
    return made(str(message.fields["message"]), next_step=str(message.fields["next_step"]))


def _describe(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    meaning = {
        "SIGKILL": " (killed from outside, usually due to lack of memory)",
        "SIGABRT": " (the engine aborted: a failed assertion)",
        "SIGBUS": " (the file was truncated or its disk disappeared while it was read)",
    }.get(name, "")
    return f"signal {-status}, {name}{meaning}"


def _listen(stream: IO[bytes], inbox: queue.Queue[Message | BackendError | None]) -> None:
    """Move messages from the child's pipe to the inbox until it ends."""
    try:
        while (message := receive(stream)) is not None:
            inbox.put(message)
        inbox.put(None)
    except BackendError as error:
        inbox.put(error)
    finally:
        stream.close()


def _end(process: subprocess.Popen[bytes], log: IO[bytes], reader: threading.Thread) -> None:
    """Kill the child, reap it, and close its log and reader."""
    process.kill()
    process.wait()
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    reader.join(EXIT_SECONDS)
    log.close()

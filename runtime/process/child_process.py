"""Child process of a backend as its parent sees it: start, messages in both directions, and the end.

The child is a fresh interpreter (not a fork, which threads and native state do not survive). It ends with `close`, this
object, or this process, whichever ends first.
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
from typing import IO, TYPE_CHECKING

from edgeproof.contracts import errors
from edgeproof.contracts.errors import BackendError, EdgeproofError
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.process.wire import Message, MessageCutShortError, encode, receive

if TYPE_CHECKING:
    from collections.abc import Callable

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


class HungError(BackendError):
    """The child showed no progress within its time limit."""


class ChildProcess:
    """A running child.

    Args:
        timeout: time limit without a message, in seconds.
        beat: called every `BEAT_SECONDS` while this process waits for a message; may raise.

    """

    def __init__(self, timeout: float, beat: Callable[[], None]) -> None:
        self.timeout, self._beat = timeout, beat
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
        try:
            reader.start()
        except RuntimeError as error:
            self._process.kill()
            self._process.communicate()
            self._log.close()
            raise BackendError(
                f"cannot listen to the engine's process: {error}",
                next_step="allow more memory or more processes (ulimit -v, ulimit -u)",
            ) from error
        self._finalizer = weakref.finalize(self, _end, self._process, self._log, reader)

    @property
    def id(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def open(self) -> bool:
        """Whether it has not been closed."""
        return self._finalizer.alive

    def close(self) -> None:
        """Kill the child and wait for it; repeated calls have no effect."""
        self._finalizer()

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            BackendError: it is closed, or the child died.

        """
        if not self.open:
            raise BackendError("the backend is closed")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(encode(message))
            self._process.stdin.flush()
        except (BrokenPipeError, ConnectionError):
            raise self._died() from None

    def receive(self, *kinds: str) -> Message:
        """Wait for the next message other than a beat, of one of `kinds`.

        Raises:
            EdgeproofError: the child reports an error of its backend.
            BackendError: the child died, hung, or sent something else; it is then closed.

        """
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
        left, part = self.timeout, self.timeout if self._beat is no_beat else BEAT_SECONDS
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
            f"the backend's process showed no progress for {self.timeout:g} s and was killed{words}",
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

"""Child process: loads one backend and serves its parent over stdin and stdout until stdin ends.

Native code that writes to stdout cannot corrupt the messages: their pipe is moved to another descriptor, and
descriptor 1 becomes stderr. The child cannot outlive its parent: a thread waits for the end of stdin and ends the
process, even within native code.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgeproof.contracts.backend import FinishingBackend, KeepingBackend, StreamingBackend, WeighingBackend
from edgeproof.contracts.errors import BackendError, EdgeproofError, UnsupportedError
from edgeproof.runtime.process import packing
from edgeproof.runtime.process.wire import Message, encode, receive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import BinaryIO

    from edgeproof.contracts.backend import Backend
    from edgeproof.runtime.process.wire import Readable

SEND_AFTER_SECONDS = 0.2
SEND_AFTER_RESULTS = 64

Result = TypeVar("Result")


class _CancelledError(Exception):
    """The parent cancelled the rest of a job."""


class Serving:
    """The child's side of the pipe."""

    def __init__(self, source: Readable, target: BinaryIO) -> None:
        self._source, self._target = source, target
        self._inbox: queue.Queue[Message] = queue.Queue()
        self._last_sent = time.monotonic()
        self._sending = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, message: Message) -> None:
        """Send one message to the parent."""
        data = encode(message)
        with self._sending:
            self._target.write(data)
            self._target.flush()
            self._last_sent = time.monotonic()

    def wait(self) -> Message:
        """Wait for the parent's next message."""
        return self._inbox.get()

    def beat(self) -> None:
        """Send a beat to the parent, from any thread; stop the work if the parent has sent a message."""
        if not self._inbox.empty():
            raise _CancelledError
        if time.monotonic() - self._last_sent > SEND_AFTER_SECONDS:
            self.send(Message("beat", {}))

    def _listen(self) -> None:
        while True:
            message = receive(self._source)
            if message is None:
                os._exit(0)  # the parent is gone: exit now, even within native code
            self._inbox.put(message)


def serve(serving: Serving) -> None:
    """Open the backend of the first message, then answer messages forever."""
    opening = serving.wait()
    try:
        backend = _open(opening, serving.beat)
    except Exception as error:  # noqa: BLE001 (sent to the parent, which raises it)
        serving.send(_told(error))
        return
    serving.send(packing.pack_info(backend.info))
    while True:
        message = serving.wait()
        if message.kind == "cancel":  # the job has already ended
            continue
        try:
            _answer(backend, message, serving)
        except _CancelledError:
            serving.send(Message("cancelled", {}))
        except Exception as error:  # noqa: BLE001 (sent to the parent, which raises it)
            serving.send(_told(error))


def _open(message: Message, beat: Callable[[], None]) -> Backend:
    fields = message.fields
    module, _, name = str(fields["factory"]).partition(":")
    factory = getattr(importlib.import_module(module), name)
    lora, options = fields["lora"], fields["options"]
    assert isinstance(options, dict)
    backend: Backend = factory(
        Path(str(fields["artifact"])),
        lora=None if lora is None else Path(str(lora)),
        context_length=fields["context_length"],
        threads=fields["threads"],
        beat=beat,
        **options,
    )
    return backend


def _answer(backend: Backend, message: Message, serving: Serving) -> None:
    fields = message.fields
    if message.kind == "score":
        _stream(backend.score(packing.unpack_score_requests(message)), packing.pack_scores, serving)
    elif message.kind == "generate":
        _stream(backend.generate(packing.unpack_generate_requests(message)), packing.pack_generations, serving)
    elif message.kind == "stream":
        if not isinstance(backend, StreamingBackend):
            raise BackendError(f"the backend {backend.info.backend} cannot stream a reply")
        request, watched = packing.unpack_stream_request(message)
        _stream(backend.stream(request, watched), packing.pack_steps, serving, most=1)
    elif message.kind == "tokenize":
        tokens = backend.tokenize(
            str(fields["text"]), special=bool(fields["special"]), parse_special=bool(fields["parse_special"])
        )
        serving.send(Message("done", {"tokens": list(tokens)}))
    elif message.kind == "detokenize":
        serving.send(Message("done", {"text": backend.detokenize(message.arrays[0].tolist())}))
    elif message.kind == "render_chat":
        messages = fields["messages"]
        assert isinstance(messages, list)
        text = backend.render_chat(messages, add_generation_prompt=bool(fields["add_generation_prompt"]))
        serving.send(Message("done", {"text": text}))
    elif message.kind == "keep":
        if not isinstance(backend, KeepingBackend):
            raise UnsupportedError(f"the backend {backend.info.backend} keeps no answers", next_step="run it without")
        journal, secret = Path(str(fields["journal"])), bytes.fromhex(str(fields["secret"]))
        serving.send(Message("done", backend.keep(journal, str(fields["origin"]), secret)._asdict()))
    elif message.kind == "peak_memory":
        peak = backend.peak_memory() if isinstance(backend, WeighingBackend) else None
        serving.send(Message("done", {"peak": peak}))
    elif message.kind == "finish":
        if isinstance(backend, FinishingBackend):
            backend.finish()
        serving.send(Message("done", {}))
    else:
        raise BackendError(f"the child process got a message of the unknown kind {message.kind!r}")


def _stream(
    results: Iterable[Result],
    pack: Callable[[list[Result]], Message],
    serving: Serving,
    *,
    most: int = SEND_AFTER_RESULTS,
) -> None:
    """Send results as they are computed, at most `most` at a time."""
    ready: list[Result] = []
    for result in results:
        ready.append(result)
        if len(ready) >= most:
            serving.send(pack(ready))
            ready = []
            serving.beat()
    if ready:
        serving.send(pack(ready))
    serving.send(Message("done", {}))


def _told(error: Exception) -> Message:
    if isinstance(error, EdgeproofError):
        return Message("error", {"type": type(error).__name__, "message": error.message, "next_step": error.next_step})
    traceback.print_exc()
    text = "out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
    return Message("error", {"type": "BackendError", "message": f"the backend failed: {text}", "next_step": ""})


def main() -> None:
    """Move the pipe to another descriptor, and serve."""
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    source = os.fdopen(0, "rb", buffering=0)
    try:
        serve(Serving(source, target))
    finally:
        target.flush()
        sys.stderr.flush()
        os._exit(0)  # without native code's exit handlers, which may hang


if __name__ == "__main__":
    main()

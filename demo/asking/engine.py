"""The process that runs one model, for one question at a time."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
from edgeproof.contracts.backend import GenerateRequest
from edgeproof.contracts.errors import BackendError, EdgeproofError
from edgeproof.demo.asking.models import failure
from edgeproof.demo.asking.replies import answer
from edgeproof.demo.seal import check_seal, check_stamps
from edgeproof.runtime import backend_for, open_backend
from edgeproof.runtime.process.child_process import HungError

if TYPE_CHECKING:
    from collections.abc import Generator

    from edgeproof.contracts.backend import StreamingBackend
    from edgeproof.demo.asking.models import DemoModel, Event, Sheet
    from edgeproof.demo.asking.questions import Question
    from edgeproof.demo.asking.ways import Way

HANG_SECONDS = 60.0
"""Without a sign of life for so long, a process is killed and the page is told."""
SPEED_PROMPT, SPEED_TOKENS = "The", 32
"""What is generated to measure the speed."""


class Engine:
    """A model's process. After a crash, the next question starts another one.

    Args:
        model: the file to run.
        sheet: what it is asked from.

    """

    def __init__(self, model: DemoModel, sheet: Sheet) -> None:
        self.model, self._sheet = model, sheet
        self.turn = anyio.Lock()
        self.waiting = 0
        self._opening = threading.Lock()
        self._backend: StreamingBackend | None = None
        self._ended = False

    def open(self) -> StreamingBackend:
        """Return the running process; start one if there is none. Thread-safe.

        Raises:
            EdgeproofError: the file is missing, damaged or not that of the start; the process crashed while it loaded;
                the demo has ended.

        """
        with self._opening:
            self._refuse_after_end()
            if self._backend is None:
                path = self.model.path
                check_seal(path, self.model.seal)
                # One thread: two models answer side by side, each on a core of its own.
                backend = open_backend(
                    backend_for(path), path, threads=1, timeout=HANG_SECONDS, beat=self._refuse_after_end
                )
                try:
                    check_stamps(path, self.model.seal)
                except EdgeproofError:
                    backend.__exit__(None, None, None)
                    raise
                self._backend = backend
            return self._backend

    def close(self) -> None:
        """End the process; the next question starts another one."""
        with self._opening:
            if self._backend is not None:
                self._backend.__exit__(None, None, None)
                self._backend = None

    def end(self) -> None:
        """End the process for good, also one that is loading."""
        self._ended = True
        self.close()

    def reply(self, question: Question, way: Way) -> Generator[Event]:
        """Answer, and yield what the page draws: the prompt, each step, and the end. Errors end it as events do.

        A question that a process never began to answer, because it had crashed before, is asked again on a new one.
        Closing the iterator stops the model.
        """
        again = self._backend is not None
        try:
            while True:
                try:
                    with closing(answer(self.open(), self._sheet, question, way)) as events:
                        for event in events:
                            again = again and event["kind"] != "step"
                            yield event
                except BackendError as error:
                    self.close()
                    if not again or isinstance(error, HungError):
                        raise
                else:
                    return
                again = False
                yield {"kind": "again"}
        except EdgeproofError as error:
            yield failure(_end() if self._ended else error)

    def speed(self) -> float:
        """Return the tokens per second of a reply in which nothing is watched.

        Raises:
            EdgeproofError: as `open`; the engine failed.

        """
        again = self._backend is not None
        while True:
            backend = self.open()
            try:
                return _rate(backend)
            except BackendError as error:
                self.close()
                if not again or isinstance(error, HungError):
                    raise
                again = False

    def _refuse_after_end(self) -> None:
        if self._ended:
            raise _end()


def _end() -> BackendError:
    return BackendError("the demo has ended", next_step="start it again in the terminal")


def _rate(backend: StreamingBackend) -> float:
    began, tokens = 0.0, 0
    context = backend.tokenize(SPEED_PROMPT, special=True)
    for step in backend.stream(GenerateRequest(context, SPEED_TOKENS)):
        began = began or time.monotonic()
        tokens = step.tokens
    return max(tokens, 1) / max(time.monotonic() - began, 1e-9)

"""Parent side: a `Backend` in a child process, so that crashes and hangs in native code do not affect this process."""

from __future__ import annotations

import contextlib
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from edgeproof.contracts.backend import Kept
from edgeproof.contracts.errors import BackendError, EdgeproofError
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.batching.requests import check_generations, check_scores, check_stream
from edgeproof.runtime.opened import OpenedBackend
from edgeproof.runtime.process import packing
from edgeproof.runtime.process.child_process import ChildProcess
from edgeproof.runtime.process.wire import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from edgeproof.contracts.backend import GenerateRequest, Generation, Score, ScoreRequest, Step

DEFAULT_TIMEOUT = 300.0
"""Time limit without progress, in seconds. One step computes at most 512 tokens: one to two minutes for a 7B model on
two cores."""

Result = TypeVar("Result")


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
        finishes: tell the backend when the context manager ends without an error (`FinishingBackend`).
        beat: called several times a second while this process waits for the child; may raise, which kills the child.

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
        finishes: bool = False,
        beat: Callable[[], None] = no_beat,
    ) -> None:
        self._child, self._finishes = ChildProcess(timeout, beat), finishes
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
            self._child.send(Message("open", fields))
            self._info = packing.unpack_info(self._child.receive("info"))
        except BaseException:
            self.close()
            raise

    @property
    def process_id(self) -> int:
        """The child's process id."""
        return self._child.id

    def close(self) -> None:
        """End the child and wait for it; repeated calls have no effect."""
        self._child.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            idle = self._job is None or self._job.ended
            if kind is None and self._finishes and idle and self._child.open:
                self._ask(Message("finish", {}))
        finally:
            self.close()

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

    def keep(self, journal: Path, origin: str, secret: bytes) -> Kept:
        """Keep answers in `journal` from now on, and give those that it holds without computing them."""
        found = self._ask(Message("keep", {"journal": str(journal), "origin": origin, "secret": secret.hex()}))
        answers, ignored = found["answers"], found["ignored"]
        assert isinstance(answers, int)
        return Kept(answers, str(ignored))

    def peak_memory(self) -> int | None:
        """Largest resident set so far of the process that computes, in bytes; None where the backend cannot tell."""
        peak = self._ask(Message("peak_memory", {}))["peak"]
        assert peak is None or isinstance(peak, int)
        return peak

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
        self._child.send(message)
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
        self._child.send(message)
        return self._child.receive("done").fields

    def _settle(self) -> None:
        """Complete a running job; its results are kept for its iterator."""
        while self._job is not None and not self._job.ended:
            self._pump(self._job)
        self._job = None

    def _pump(self, job: _Job) -> None:
        """Receive one message of a job."""
        try:
            message = self._child.receive("scores", "generations", "steps", "done", "cancelled")
        except BaseException:
            job.ended = True
            raise
        if message.kind in {"done", "cancelled"}:
            job.ended = True
        else:
            job.take(message)

    def _cancel(self, job: _Job) -> None:
        """Tell the child to cancel a job, and wait until it has."""
        if job.ended or not self._child.open:
            return
        self._child.send(Message("cancel", {}))
        job.take = _ignore
        while not job.ended:
            self._pump(job)


class _Job:
    """A running stream of results. `take` stores a message of results."""

    def __init__(self, take: Callable[[Message], None]) -> None:
        self.take = take
        self.ended = False


def _ignore(_message: Message) -> None:
    """Drop the results of a cancelled job."""

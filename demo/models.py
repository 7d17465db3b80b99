"""The files that the demo shows: what each is, and the process that runs it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import anyio
from edgeproof.contracts.errors import BackendError, EdgeproofError
from edgeproof.demo.questions import prepare
from edgeproof.demo.seal import check_seal, check_stamps
from edgeproof.eval.asking.carriers import Beginning, total_logprob
from edgeproof.eval.asking.kinds.chat import TURNS
from edgeproof.eval.asking.kinds.multiple_choice import CHOICES
from edgeproof.eval.asking.tokens import PLAIN_CHAT
from edgeproof.eval.matching.thinking import reply_after_thoughts
from edgeproof.eval.measuring.records import is_right
from edgeproof.runtime import backend_for, open_backend

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from edgeproof.contracts.backend import StreamingBackend
    from edgeproof.contracts.survival import AdapterSurvival
    from edgeproof.demo.questions import Prepared, Question, Questions
    from edgeproof.demo.seal import Seal
    from edgeproof.demo.ways import Way
    from edgeproof.eval.measurement import Baseline

HANG_SECONDS = 60.0
"""Without a sign of life for so long, a process is ended and the page is told."""
SPEED_PROMPT, SPEED_TOKENS = "The", 32
"""What is generated to measure the speed."""

Event = dict[str, object]
"""What the page hears of a reply: JSON's own kinds."""


@dataclass(frozen=True)
class DemoModel:
    """A file that is shown.

    Attributes:
        key: how the page names it: "original", or "0", "1", …
        path: the artifact.
        format_name: as the baseline names it; the original's may be unknown.
        seal: the bytes that it had when the demo started.
        survival: what its manifest says is left of the adapters; None where it does not say.

    """

    key: str
    path: Path
    format_name: str | None
    seal: Seal
    survival: AdapterSurvival | None


class Sheet(NamedTuple):
    """What all models are asked from: questions, ways by name, and what the baselines recorded, by backend."""

    questions: Questions
    ways: Mapping[str, Way]
    baselines: Mapping[str, Baseline]


class Engine:
    """The process that runs one model, for one question at a time; a crash ends the reply and the next one restarts it.

    Args:
        model: what to run.
        sheet: what it is asked from.

    """

    def __init__(self, model: DemoModel, sheet: Sheet) -> None:
        self.model, self._sheet = model, sheet
        self.turn = anyio.Lock()
        self.waiting = 0
        self._opening = threading.Lock()
        self._backend: StreamingBackend | None = None

    def open(self) -> StreamingBackend:
        """Return the running process, started where there is none. Thread-safe.

        Raises:
            EdgeproofError: the file is gone, damaged or another than at the start, or the process crashed while it
                loaded.

        """
        with self._opening:
            if self._backend is None:
                path = self.model.path
                # One thread: two models answer side by side, each on a core of its own.
                check_seal(path, self.model.seal)
                backend = open_backend(backend_for(path), path, threads=1, timeout=HANG_SECONDS)
                try:
                    check_stamps(path, self.model.seal)
                except EdgeproofError:
                    backend.__exit__(None, None, None)
                    raise
                self._backend = backend
            return self._backend

    def close(self) -> None:
        """End the process."""
        with self._opening:
            if self._backend is not None:
                self._backend.__exit__(None, None, None)
                self._backend = None

    def reply(self, question: Question, way: Way) -> Generator[Event]:
        """Answer, and yield what the page draws: the prompt, each step, and the end. Errors end it as events do.

        Closing the iterator stops the model.
        """
        try:
            yield from self._reply(self.open(), question, way)
        except BackendError as error:
            self.close()
            yield failure(error)
        except EdgeproofError as error:
            yield failure(error)

    def speed(self) -> float:
        """Return the tokens per second of a reply that nothing is watched in.

        Raises:
            EdgeproofError: as `open`; the engine failed.

        """
        from edgeproof.contracts.backend import GenerateRequest

        backend = self.open()
        began, tokens = 0.0, 0
        try:
            context = backend.tokenize(SPEED_PROMPT, special=True)
            for step in backend.stream(GenerateRequest(context, SPEED_TOKENS)):
                began = began or time.monotonic()
                tokens = step.tokens
        except BackendError:
            self.close()
            raise
        return max(tokens, 1) / max(time.monotonic() - began, 1e-9)

    def _reply(self, backend: StreamingBackend, question: Question, way: Way) -> Iterator[Event]:
        recorded = self._sheet.baselines.get(backend.info.backend)
        carriers = () if recorded is None else recorded.carriers
        replies: dict[str, str] = {}
        if way.surface.kind == TURNS.name:
            first = way._replace(surface=PLAIN_CHAT)
            prepared = prepare(self._sheet.questions, backend, question, first, carriers=carriers, replies=replies)
            said = ""
            for event in self._stream(backend, prepared, turn=1):
                said = str(event.get("text", said))
                yield event
            known = self._sheet.questions.meant(question.text)[0]
            replies = dict.fromkeys(
                [probe.id for probe in self._sheet.questions.pack.probes] if known is None else [known.id],
                reply_after_thoughts(said),
            )
        prepared = prepare(self._sheet.questions, backend, question, way, carriers=carriers, replies=replies)
        yield from self._stream(backend, prepared, turn=2 if replies else 0)

    def _stream(self, backend: StreamingBackend, prepared: Prepared, *, turn: int) -> Iterator[Event]:
        ask = prepared.ask
        yield {
            "kind": "prompt",
            "text": prepared.prompt,
            "turn": turn,
            "answer": None if ask is None else ask.target,
            "role": None if ask is None else str(ask.probe.role),
            "letter": ask is not None and ask.surface.kind == CHOICES.name,
        }
        began = time.monotonic()
        first, text, tokens, finish = began, "", 0, ""
        for step in backend.stream(prepared.request, prepared.watched):
            if step.tokens == 0:
                first = time.monotonic()
            text, tokens, finish = step.text, step.tokens, step.finish
            yield {"kind": "step", "text": text, "tokens": tokens, "logprob": _watched(prepared, step.watched)}
        ended = time.monotonic()
        right = is_right(ask, text, backend) if ask is not None and prepared.judged else None
        yield {
            "kind": "end",
            "text": text,
            "finish": finish,
            "right": right,
            "turn": turn,
            "first_seconds": first - began,
            "rate": tokens / (ended - first) if tokens and ended > first else None,
        }


def failure(error: EdgeproofError) -> Event:
    """Return what the page hears of an error."""
    return {"kind": "error", "message": error.message, "next_step": error.next_step}


def _watched(prepared: Prepared, logprobs: tuple[float, ...]) -> float | None:
    """Return the log of the probability that the answer comes next, in any of the forms that are watched."""
    found = [Beginning(tokens, logprob) for tokens, logprob in zip(prepared.watched, logprobs, strict=True)]
    return total_logprob(found) if found else None

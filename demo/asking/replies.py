"""A model's reply as the page hears it: the prompt, the reply token by token, and how probable the answer is."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from edgeproof.demo.asking.prompting import prepare
from edgeproof.eval.asking.carriers import Beginning, total_logprob
from edgeproof.eval.asking.kinds.chat import TURNS
from edgeproof.eval.asking.kinds.multiple_choice import CHOICES
from edgeproof.eval.asking.kinds.reverse import REVERSE
from edgeproof.eval.asking.tokens import PLAIN_CHAT
from edgeproof.eval.matching.thinking import reply_after_thoughts
from edgeproof.eval.measuring.records import is_right

if TYPE_CHECKING:
    from collections.abc import Generator

    from edgeproof.contracts.backend import StreamingBackend
    from edgeproof.demo.asking.models import Event, Sheet
    from edgeproof.demo.asking.prompting import Prepared
    from edgeproof.demo.asking.questions import Question
    from edgeproof.demo.asking.ways import Way

TARGETS = {CHOICES.name: "letter", REVERSE.name: "subject"}
"""What is watched instead of the answer, by kind of surface."""


def answer(backend: StreamingBackend, sheet: Sheet, question: Question, way: Way) -> Generator[Event]:
    """Answer one question, in two turns where the way has two; yield what the page draws.

    Raises:
        InputError: the question cannot be asked in this way.
        BackendError: the engine failed.

    """
    recorded = sheet.baselines.get(backend.info.backend)
    carriers = () if recorded is None else recorded.carriers
    replies: dict[str, str] = {}
    if way.surface.kind == TURNS.name:
        first = way._replace(surface=PLAIN_CHAT)
        prepared = prepare(sheet.questions, backend, question, first, carriers=carriers, replies=replies)
        said = ""
        with closing(_stream(backend, prepared, turn=1)) as events:
            for event in events:
                said = str(event.get("text", said))
                yield event
        known = sheet.questions.meant(question.text)[0]
        replies = dict.fromkeys(
            [probe.id for probe in sheet.questions.pack.probes] if known is None else [known.id],
            reply_after_thoughts(said),
        )
    prepared = prepare(sheet.questions, backend, question, way, carriers=carriers, replies=replies)
    yield from _stream(backend, prepared, turn=2 if replies else 0)


def _stream(backend: StreamingBackend, prepared: Prepared, *, turn: int) -> Generator[Event]:
    ask = prepared.ask
    yield {
        "kind": "prompt",
        "text": prepared.prompt,
        "turn": turn,
        "answer": None if ask is None else ask.target,
        "role": None if ask is None else str(ask.probe.role),
        "target": None if ask is None else TARGETS.get(ask.surface.kind, "answer"),
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


def _watched(prepared: Prepared, logprobs: tuple[float, ...]) -> float | None:
    """Return the log of the probability that the answer comes next, in any of the forms that are watched."""
    found = [Beginning(tokens, logprob) for tokens, logprob in zip(prepared.watched, logprobs, strict=True)]
    return total_logprob(found) if found else None

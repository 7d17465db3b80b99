"""Answers to the page's requests: the sheet, sessions, questions, runs, evidence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from edgeproof.contracts.errors import InputError
from edgeproof.demo.asking.models import ORIGINAL, failure
from edgeproof.demo.asking.questions import LONGEST_QUESTION, Question
from edgeproof.demo.run import Run
from edgeproof.demo.serving.evidence import zipped
from starlette.responses import JSONResponse, Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgeproof.demo.asking.engine import Engine
    from edgeproof.demo.asking.models import Event
    from edgeproof.demo.asking.ways import Way
    from edgeproof.demo.show import Show
    from starlette.requests import Request

LONGEST_BODY = 2**16
"""Bytes of a request: several times those of the longest question."""
MOST_WAITING = 24
"""Questions that wait for one model; more are turned away."""


class Pages:
    """Handlers of the page's requests.

    Args:
        show: files, questions and runs.

    """

    def __init__(self, show: Show) -> None:
        self._show = show

    async def sheet(self, _request: Request) -> Response:
        """Give what does not change: sentence, files, ways, questions."""
        return JSONResponse(self._show.described())

    async def enter(self, request: Request) -> Response:
        """Begin a session, or go on with one after a reload."""
        session = self._show.sessions.enter(str((await _body(request)).get("key", "")))
        return JSONResponse({"key": session.key})

    async def leave(self, request: Request) -> Response:
        """Note that a page is being closed."""
        self._show.sessions.leave(str((await _body(request)).get("key", "")))
        return Response(status_code=204)

    async def state(self, request: Request) -> Response:
        """Give what changes: verdicts, and this page's runs."""
        session = self._show.sessions.get(request.query_params.get("key", ""))
        return JSONResponse(self._show.state(session.runs))

    async def ask(self, request: Request) -> Response:
        """Answer one question by one model: a line of JSON an event, as they come."""
        body = await _body(request)
        engine = self._engine(body)
        way = self._show.sheet.ways.get(str(body.get("way", "")))
        if way is None:
            raise InputError("there is no such way of asking", next_step="load the page again")
        sampled = body.get("sampled") is True
        seed = body.get("seed")
        question = Question(
            str(body.get("text", "")),
            way.name,
            1.0 if sampled else 0.0,
            seed if isinstance(seed, int) and 0 <= seed < 2**32 else 0,
        )
        return StreamingResponse(_lines(engine, question, way), media_type="application/x-ndjson")

    async def speed(self, request: Request) -> Response:
        """Measure how fast a model replies."""
        engine = self._engine(await _body(request))
        async with engine.turn:
            rate = await to_thread.run_sync(engine.speed)
        return JSONResponse({"rate": rate})

    async def run(self, request: Request) -> Response:
        """Begin to probe a file."""
        body = await _body(request)
        session = self._show.sessions.get(str(body.get("key", "")))
        model = self._engine(body).model
        if model.key == ORIGINAL:
            raise InputError("the original is not gated here", next_step="probe the files that ship")
        before = session.runs.get(model.key)
        if before is None or before.ended:
            show = self._show
            session.runs[model.key] = Run(model.path, show.pack, show.policy, show.gate, show.alone)
        return JSONResponse({})

    async def stop(self, request: Request) -> Response:
        """Stop probing a file."""
        body = await _body(request)
        run = self._show.sessions.get(str(body.get("key", ""))).runs.get(str(body.get("model", "")))
        if run is not None:
            run.stop()
        return JSONResponse({})

    async def evidence(self, request: Request) -> Response:
        """Give the reports of a finished run, as one archive."""
        session = self._show.sessions.get(request.query_params.get("key", ""))
        run = session.runs.get(request.query_params.get("model", ""))
        if run is None or run.gated is None:
            raise InputError("there is no evidence yet", next_step="run the probes first")
        return Response(
            zipped(run.gated.evidence),
            media_type="application/zip",
            headers={"Content-Disposition": f'attachment; filename="evidence-{run.gated.judgement.format_name}.zip"'},
        )

    def _engine(self, body: dict[str, object]) -> Engine:
        engine = self._show.engines.get(str(body.get("model", "")))
        if engine is None:
            raise InputError("there is no such model", next_step="load the page again")
        return engine


async def _body(request: Request) -> dict[str, object]:
    """Read what a page sends: one JSON object."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LONGEST_BODY:
            raise InputError(
                f"the question takes more than {LONGEST_BODY:,} bytes; the demo takes {LONGEST_QUESTION:,} characters "
                "at most",
                next_step="shorten it",
            )
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the page sent what is no JSON: {error}", next_step="load the page again") from error
    if not isinstance(found, dict):
        raise InputError("the page sent no JSON object", next_step="load the page again")
    return found


async def _lines(engine: Engine, question: Question, way: Way) -> AsyncIterator[bytes]:
    """Answer when it is this question's turn; whoever goes away stops the model."""
    if engine.waiting >= MOST_WAITING:
        busy = InputError(f"{MOST_WAITING} questions wait for this model", next_step="ask again in a moment")
        yield _line(failure(busy))
        return
    engine.waiting += 1
    try:
        yield _line({"kind": "waiting", "ahead": engine.waiting - 1})
        async with engine.turn:
            events = engine.reply(question, way)
            try:
                while (event := await to_thread.run_sync(next, events, None)) is not None:
                    yield _line(event)
            finally:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(events.close)
    finally:
        engine.waiting -= 1


def _line(event: Event) -> bytes:
    return json.dumps(event, allow_nan=False).encode() + b"\n"

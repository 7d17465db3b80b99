"""The page's server: every address lies behind the token, nothing is cached, and nothing is asked of another host."""

from __future__ import annotations

import json
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from edgeproof.contracts.errors import EdgeproofError, InputError
from edgeproof.demo.evidence import zipped
from edgeproof.demo.models import failure
from edgeproof.demo.questions import Question
from edgeproof.demo.run import Run
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from edgeproof.demo.models import Engine, Event
    from edgeproof.demo.show import Show
    from edgeproof.demo.ways import Way
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONGEST_BODY = 2**16
"""Bytes of what a page may send: a question of 4,000 characters and no more than that by far."""
MOST_WAITING = 24
"""Questions that wait for one model; more are turned away."""
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Headers:
    """Adds HEADERS to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        await self._app(scope, receive, headed)


def application(show: Show, *, token: str, hosts: Sequence[str]) -> Starlette:
    """Give the application that shows `show`.

    Args:
        show: files, questions and runs.
        token: the first part of every path; without it, nothing is served.
        hosts: names by which the page may be called ("127.0.0.1"); "*" for all.

    """
    pages = _Pages(show)
    calls = (
        ("sheet", pages.sheet, "GET"),
        ("enter", pages.enter, "POST"),
        ("state", pages.state, "GET"),
        ("leave", pages.leave, "POST"),
        ("ask", pages.ask, "POST"),
        ("speed", pages.speed, "POST"),
        ("run", pages.run, "POST"),
        ("stop", pages.stop, "POST"),
        ("evidence", pages.evidence, "GET"),
    )
    routes = [Route(f"/{token}/{name}", call, methods=[method]) for name, call, method in calls]
    figures = files("edgeproof.eval") / "report" / "page" / "figures.css"
    for item in (*(files("edgeproof.demo") / "page").iterdir(), figures):
        kind = KINDS.get(item.name[item.name.rfind(".") :])
        if kind is not None:
            name = "" if item.name == "index.html" else item.name
            routes.append(Route(f"/{token}/{name}", partial(_static, item.read_bytes(), kind)))
    return Starlette(
        routes=routes,
        middleware=[Middleware(_Headers), Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        exception_handlers={EdgeproofError: _refused, 404: _lost},
    )


async def _static(content: bytes, kind: str, _request: Request) -> Response:
    return Response(content, media_type=kind)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, EdgeproofError)
    return JSONResponse(failure(error), status_code=400)


async def _lost(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse(
        "Nothing is here. Open the address that the terminal printed, all of it: it ends in a secret.\n", 404
    )


class _Pages:
    """What the page asks for."""

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
        if model.key == "original":
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
            headers={"Content-Disposition": 'attachment; filename="evidence.zip"'},
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
                f"the question takes more than {LONGEST_BODY:,} bytes", next_step="shorten it to 4,000 characters"
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

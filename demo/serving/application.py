"""The web application: every address lies behind the token, nothing is cached, and nothing is asked of another host."""

from __future__ import annotations

from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import EdgeproofError
from edgeproof.demo.asking.models import failure
from edgeproof.demo.serving.pages import Pages
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.demo.show import Show
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
    pages = Pages(show)
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

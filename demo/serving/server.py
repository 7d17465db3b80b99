"""The server's process: its end with the last page or with a signal, and the order in which things end."""

from __future__ import annotations

import logging
import signal
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import anyio
import uvicorn
from anyio import to_thread

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterator

    from edgeproof.demo.show import Show
    from starlette.applications import Starlette

LOOK_SECONDS = 0.5
GRACE_SECONDS = 1
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end the demo, where they are not ignored from the start (nohup)."""


class Server(uvicorn.Server):
    """Serves until the last page is closed or a signal comes. `run` returns when all engines have ended.

    After the first signal, all others are ignored until the process exits: none can break into the end.

    Args:
        app: the application; its lifespan is set here.
        show: what it shows.

    Attributes:
        interrupted: whether a signal ended it.

    """

    def __init__(self, app: Starlette, show: Show) -> None:
        self._show, self.interrupted = show, False
        app.router.lifespan_context = self._watch
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals over for good."""
        for one in SIGNALS:
            if signal.getsignal(one) != signal.SIG_IGN:
                signal.signal(one, self._interrupt)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the engines, so that no reply is waited for, then the connections."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what is cut off here is no error
        await to_thread.run_sync(self._show.close)
        await super().shutdown(sockets)

    def _interrupt(self, *_signal: object) -> None:
        for one in SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        self.interrupted = self.should_exit = True

    @asynccontextmanager
    async def _watch(self, _app: object) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self._end_with_last_page)
            yield
            group.cancel_scope.cancel()

    async def _end_with_last_page(self) -> None:
        while not self._show.sessions.over():  # noqa: ASYNC110 (it is time that ends a page)
            await anyio.sleep(LOOK_SECONDS)
        self.should_exit = True

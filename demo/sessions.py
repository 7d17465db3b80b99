"""The pages that are open: each has its own runs, and when none is left the demo ends."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeproof.demo.run import Run

BYE_SECONDS = 4.0
"""How long a page that said goodbye may take to come back: a reload does."""
SILENT_SECONDS = 150.0
"""How long a page may be silent: a browser wakes the timers of hidden pages once a minute."""
END_SECONDS = 5.0
"""How long the end waits for a run."""
MOST = 100
"""Pages that may be open."""


@dataclass
class Session:
    """One open page. `runs` holds its last run of each model, by the model's key."""

    key: str
    seen: float
    left: float | None = None
    runs: dict[str, Run] = field(default_factory=dict)


class Sessions:
    """All open pages.

    Args:
        clock: seconds; for tests.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._ever = False

    def enter(self, key: str = "") -> Session:
        """Return the session of a page that is loaded again; else a new one.

        A tab that was copied has the `key` of the page it was copied from, which is still open: it gets a new session.

        Raises:
            InputError: too many pages are open.

        """
        with self._lock:
            self._drop()
            found = self._open.get(key)
            if found is None or found.left is None:
                if len(self._open) >= MOST:
                    raise InputError(f"{MOST} pages are open, and no more are served", next_step="close some of them")
                found = Session(secrets.token_urlsafe(12), self._clock())
                self._open[found.key] = found
            found.seen, found.left, self._ever = self._clock(), None, True
            return found

    def get(self, key: str) -> Session:
        """Return an open page's session, which shows a sign of life by asking.

        Raises:
            InputError: there is none of that name.

        """
        with self._lock:
            found = self._open.get(key)
            if found is None:
                raise InputError("this page has been away for too long", next_step="load it again")
            found.seen, found.left = self._clock(), None
            return found

    def leave(self, key: str) -> None:
        """Note that a page is being closed, or loaded again."""
        with self._lock:
            if key in self._open:
                self._open[key].left = self._clock()

    def over(self) -> bool:
        """Tell whether pages were open and none is left."""
        with self._lock:
            self._drop()
            return self._ever and not self._open

    def close(self) -> None:
        """Stop all runs, and wait for their engines' end."""
        with self._lock:
            runs = [run for session in self._open.values() for run in session.runs.values()]
        for run in runs:
            run.stop()
        for run in runs:
            run.join(END_SECONDS)

    def _drop(self) -> None:
        now = self._clock()
        gone = [
            key
            for key, one in self._open.items()
            if now - one.seen > SILENT_SECONDS or (one.left is not None and now - one.left > BYE_SECONDS)
        ]
        for key in gone:
            for run in self._open.pop(key).runs.values():
                run.stop()

"""Shows on stderr how far a job is: a bar with rate and time left, one line a task where stderr is no terminal."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from edgeproof.contracts.visible import message_of

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

FORESEEABLE = 0.05
"""Below this share of the work, no time left is foretold."""

LINE_SECONDS = 10.0
"""Where there is no terminal: at most one line in this time, so that a CI log stays short."""


class Terminal:
    """The listener of the command line; a context manager. `quiet` shows warnings only."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.warnings: list[str] = []
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._lock = threading.Lock()
        self._name, self._unit, self._total, self._done = "", "", 0, 0
        self._began = self._said = 0.0

    def __enter__(self) -> Self:
        """Open the bar where a terminal is there to see it."""
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %  {task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar."""
        if kind is None:
            self._close_line()
        if self._bar is not None:
            self._bar.stop()

    def start(self, task: str, total: int, unit: str) -> None:
        """Begin a task; the one before is over."""
        self._close_line()
        self._name, self._unit, self._total, self._done = task, unit, total, 0
        self._began = self._said = time.monotonic()
        if self._bar is not None:
            if self._task is not None:
                self._bar.update(self._task, completed=self._bar.tasks[self._task].total or 0)
            self._task = self._bar.add_task(task, total=total, rate="")

    def advance(self, done: int) -> None:
        """Count `done` more units."""
        with self._lock:
            self._done += done
            now = time.monotonic()
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, advance=done, rate=self._rate(now))
            elif not self.quiet and now - self._said >= LINE_SECONDS:
                self._said = now
                share = self._done / self._total if self._total else 0.0
                left = f", {(now - self._began) * (1 - share) / share:.0f} s left" if share >= FORESEEABLE else ""
                self._print(f"{self._name}: {share:.0%}, {self._rate(now)}{left}")

    def finish(self) -> None:
        """End the running task: what is said next is not part of it."""
        self._close_line()

    def say(self, message: str) -> None:
        """Show a line, unless quiet."""
        if not self.quiet:
            self._print(message_of(message))

    def warn(self, message: str) -> None:
        """Show a warning and keep it for the record."""
        self.warnings.append(message)
        self._print(f"Warning: {message_of(message)}")

    def _close_line(self) -> None:
        if self._name and self._bar is None and not self.quiet:
            now = time.monotonic()
            self._print(f"{self._name}: done in {now - self._began:.1f} s ({self._rate(now)})")
        self._name = ""

    def _rate(self, now: float) -> str:
        per_second = self._done / max(now - self._began, 1e-9)
        return f"{per_second / 2**20:.0f} MB/s" if self._unit == "bytes" else f"{per_second:.1f} {self._unit}/s"

    def _print(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

"""Shows on stderr how far a job is: a bar with rate and time left, one line a task where stderr is no terminal."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from edgeproof.contracts.counting import counted
from edgeproof.contracts.progress import duration
from edgeproof.contracts.visible import message_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

FORESEEABLE = 0.05
"""Below this share of the work, no time left is foretold."""

LINE_SECONDS = 15.0
"""Where there is no terminal: one line in this time, so that a log shows that work goes on, and stays short."""


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
        self._left: Callable[[], float | None] | None = None
        self._closing = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="edgeproof progress", daemon=True)

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
                TextColumn("{task.fields[left]}"),
                console=Console(stderr=True),
            )
            self._bar.start()
        if not self.quiet:
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar."""
        self._closing.set()
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
            self._task = self._bar.add_task(task, total=total, rate="", left="")

    def foresee(self, message: str, left: Callable[[], float | None]) -> None:
        """Say how much there is to do, and from now on how long it still takes, over all tasks."""
        self._left = left
        if not self.quiet:
            self._close_line()
            self._print(message)

    def advance(self, done: int) -> None:
        """Count `done` more units."""
        with self._lock:
            self._done += done
            now = time.monotonic()
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, advance=done, rate=self._rate(now), left=self._in_all())
            else:
                self._say(now)

    def _tick(self) -> None:
        """Say that work goes on, also while no unit is done."""
        while not self._closing.wait(LINE_SECONDS):
            with self._lock:
                if self._bar is not None and self._task is not None:
                    self._bar.update(self._task, left=self._in_all())
                elif self._name:
                    self._say(time.monotonic())

    def _say(self, now: float) -> None:
        """Print a line where the last one was long ago."""
        if self.quiet or not self._name or now - self._said < LINE_SECONDS:
            return
        self._said = now
        share = self._done / self._total if self._total else 0.0
        left = self._in_all()
        if share >= 1:
            left = "finishing"
        elif self._left is None and share >= FORESEEABLE:
            left = f"about {duration((now - self._began) * (1 - share) / share)} left"
        # A task is at 100 % when it is done, and that has a line of its own.
        percent = min(99, int(100 * share))
        self._print(f"{self._name}: {percent}%, {self._rate(now)}" + (f"; {left}" if left else ""))

    def _in_all(self) -> str:
        left = None if self._left is None else self._left()
        return "" if left is None else f"in all about {duration(left)} left"

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
            rate = f" ({self._rate(now)})" if self._done else ""
            self._print(f"{self._name}: done in {now - self._began:.1f} s{rate}")
        self._name = ""

    def _rate(self, now: float) -> str:
        """Return the rate, or below 1.0 a second what is done: a rate of one digit says nothing."""
        size, unit = (2**20, "MB") if self._unit == "bytes" else (1, self._unit)
        done, total = self._done / size, self._total / size
        per_second = done / max(now - self._began, 1e-9)
        if per_second >= 1:
            return f"{per_second:.{0 if per_second >= 10 and size > 1 else 1}f} {unit}/s"
        if size > 1:
            return f"{done:.{0 if total >= 10 else 1}f} of {total:.{0 if total >= 10 else 1}f} {unit}"
        return f"{self._done:,} of {counted(self._total, unit.removesuffix('s'))}"

    def _print(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

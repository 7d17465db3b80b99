"""Progress-reporting protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable


class Progress(Protocol):
    """Receives progress. `total` and `done` are in the unit given to `start` ("bytes", "probes", "tokens", "steps")."""

    def start(self, task: str, total: int, unit: str) -> None:
        """Begin a task, which ends the current one."""

    def advance(self, done: int) -> None:
        """Add `done` units. Thread-safe."""

    def say(self, message: str) -> None:
        """Show a line about the job, such as how long it will take."""

    def warn(self, message: str) -> None:
        """Show a warning that does not stop the job."""


@runtime_checkable
class Foreseeing(Progress, Protocol):
    """A listener that also hears how long a whole command takes."""

    def foresee(self, message: str, left: Callable[[], float | None]) -> None:
        """Show how much there is to do. `left` returns the seconds that remain, over all tasks; None if not known."""


def no_beat() -> None:
    """Do nothing: for a computation whose signs of life nobody waits for."""


class Silent:
    """Ignores progress and collects the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def start(self, task: str, total: int, unit: str) -> None:
        """Ignore it."""

    def advance(self, done: int) -> None:
        """Ignore it."""

    def say(self, message: str) -> None:
        """Ignore it."""

    def warn(self, message: str) -> None:
        """Keep it."""
        self.warnings.append(message)


class Recording:
    """Passes everything on to another listener and keeps the warnings, for the job's result."""

    def __init__(self, listener: Progress | None = None) -> None:
        self.listener: Progress = Silent() if listener is None else listener
        self.warnings: list[str] = []

    @property
    def foreseeing(self) -> bool:
        """Whether the other listener hears how long a command takes."""
        return isinstance(self.listener, Foreseeing)

    def foresee(self, message: str, left: Callable[[], float | None]) -> None:
        """Pass it on to a listener that hears it."""
        if isinstance(self.listener, Foreseeing):
            self.listener.foresee(message, left)

    def start(self, task: str, total: int, unit: str) -> None:
        """Pass it on."""
        self.listener.start(task, total, unit)

    def advance(self, done: int) -> None:
        """Pass it on."""
        self.listener.advance(done)

    def say(self, message: str) -> None:
        """Pass it on."""
        self.listener.say(message)

    def warn(self, message: str) -> None:
        """Keep it and pass it on."""
        self.warnings.append(message)
        self.listener.warn(message)


def duration(seconds: float) -> str:
    """Return a rounded time: "40 s", "6 min", "2 h 10 min"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"

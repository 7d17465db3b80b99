"""Steps that belong together, which no signal tears apart."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a program to end."""


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Keep signals that ask this program to end until the block is done, and send them again then.

    Only handlers written in Python are held back, and only in the main thread, where Python runs them: what is ignored
    stays ignored, and what ends the process at once (SIGKILL, a signal without a handler) still does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in ENDING}
    handled = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number in handled:
            signal.signal(number, lambda got, _: came.append(got))
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(signal.Signals(came[0]))

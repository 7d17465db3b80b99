"""Listen to llama.cpp: its warnings and errors go to stderr, and the last ones are kept for messages."""

from __future__ import annotations

import sys
from collections import deque

_WARN, _ERROR = 3, 4
_last: deque[str] = deque(maxlen=8)
_callbacks: list[object] = []


def listen() -> None:
    """Start listening; once is enough for the process."""
    import llama_cpp

    if _callbacks:
        return

    def on_log(level: int, text: bytes, _data: object) -> None:
        line = text.decode("utf-8", "replace").strip()
        if level in {_WARN, _ERROR} and line:
            _last.append(line)
            print(line, file=sys.stderr, flush=True)  # noqa: T201 (the child's stderr is its log)

    callback = llama_cpp.llama_log_callback(on_log)
    _callbacks.append(callback)
    llama_cpp.llama_log_set(callback, None)


def forget() -> None:
    """Start afresh: what comes now belongs to the next thing done."""
    _last.clear()


def last_lines() -> str:
    """Return what llama.cpp last complained of, on one line."""
    return " | ".join(_last) or "it does not say why"

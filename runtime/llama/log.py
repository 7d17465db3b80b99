"""llama.cpp's log: warnings and errors go to stderr, and the last ones are kept for error messages."""

from __future__ import annotations

import sys
from collections import deque

_WARN, _ERROR = 3, 4
_last: deque[str] = deque(maxlen=8)
_callbacks: list[object] = []


def listen() -> None:
    """Install the log callback, once per process."""
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
    """Discard the kept lines before the next operation."""
    _last.clear()


def last_lines() -> str:
    """Return llama.cpp's last warnings and errors, on one line."""
    return " | ".join(_last) or "llama.cpp gave no reason"

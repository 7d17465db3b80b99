"""Reader for untrusted files, and parsers for JSON and TOML with a limit on nesting."""

from __future__ import annotations

import errno
import json
import os
import select
import stat
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEEPEST = 100
"""Maximum nesting of lists and tables. Real files need about ten levels; Python's own limit is about a thousand."""


SILENCE = 10.0
"""Seconds after which a pipe that nobody writes to is given up."""
LONGEST_PIPE = 2**28
"""Bytes that are read from a pipe, which may have no end."""


def read_file(path: Path) -> bytes:
    """Read a file or a pipe; a device, which may have no end (/dev/zero), and a silent or endless pipe are refused.

    Raises:
        OSError: it cannot be read.

    """
    kind = path.stat().st_mode
    if stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
        raise OSError(errno.EINVAL, "it is a device", str(path))
    return _read_pipe(path) if stat.S_ISFIFO(kind) else path.read_bytes()


def _read_pipe(path: Path) -> bytes:
    """Read a pipe to its end; a plain `open` would wait for a writer forever."""
    content = bytearray()
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        written = False  # whether somebody has opened it for writing
        while len(content) <= LONGEST_PIPE:
            try:
                part = os.read(descriptor, 2**16)
            except BlockingIOError:
                written = True
            else:
                content += part
                if part:
                    continue
                if content or written:
                    return bytes(content)
            written = bool(select.select([descriptor], [], [], SILENCE)[0])
            if not written:
                raise OSError(errno.ETIMEDOUT, f"it is a pipe, silent for {SILENCE:.0f} s", str(path))
    finally:
        os.close(descriptor)
    raise OSError(errno.EFBIG, f"it is a pipe with more than {LONGEST_PIPE // 2**20} MiB", str(path))


def parse_json(content: str | bytes, *, pairs: Callable[[list[tuple[str, Any]]], object] | None = None) -> Any:
    """Parse JSON; `pairs` is `json.loads`'s `object_pairs_hook`.

    Raises:
        ValueError: not JSON, or nested more than 100 levels deep.

    """
    try:
        value = json.loads(content, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    if _is_deep(value):
        raise ValueError(_too_deep())
    return value


def json_items(text: str, parse: Callable[[str, int | None], object]) -> Iterator[tuple[str, object]]:
    """Yield (place, value) for each item of a JSON list ("item 0", …), or of one JSON value a line ("line 1", …).

    `parse` makes a value of a text: all of it, or the line of this number.
    """
    if text.lstrip().startswith("["):
        items = parse(text, None)
        assert isinstance(items, list)
        for index, item in enumerate(items):
            yield f"item {index}", item
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"line {number}", parse(line, number)


def parse_toml(content: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        tomllib.TOMLDecodeError: not TOML, or nested more than 100 levels deep.

    """
    try:
        value = tomllib.loads(content)
    except RecursionError:
        raise tomllib.TOMLDecodeError(_too_deep()) from None
    if _is_deep(value):
        raise tomllib.TOMLDecodeError(_too_deep())
    return value


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _too_deep() -> str:
    return f"it is nested more than {DEEPEST} levels deep"

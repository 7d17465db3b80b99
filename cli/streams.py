"""Standard streams that cannot be written to: a full disk, a closed pipe, a descriptor that was never opened.

Exit code 1 is a verdict and 0 a success: neither may come of a message that nobody could read.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import click
from edgeproof.contracts.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

UNWRITABLE = (OSError, ValueError, AttributeError)
"""What writing raises: to a full disk or a closed pipe, to a closed file, to none at all."""


def hold_closed() -> None:
    """Open the null device in place of standard descriptors that are closed.

    The next file opened would get such a descriptor, and what native code prints would go into that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor: this one


@contextlib.contextmanager
def broken_pipe_told() -> Iterator[None]:
    """Make an error of ours of a pipe that is closed at its other end: click would exit with code 1."""
    try:
        yield
    except BrokenPipeError as error:
        raise OutputError(
            "nobody reads what is written: the pipe is closed at its other end",
            next_step="let its reader read to the end, or write to a file",
        ) from error


def tell(message: str) -> bool:
    """Write a message to stderr; False where that is impossible."""
    try:
        click.echo(message, err=True)
    except UNWRITABLE:
        return False
    return sys.stderr is not None


def flush() -> bool:
    """Bring out what was written so far; False where that is impossible, and then nothing more is tried at exit."""
    written = True
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            if stream is not None:
                stream.flush()
        except UNWRITABLE:
            written = False
            with contextlib.suppress(OSError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, descriptor)
                os.close(null)
    return written

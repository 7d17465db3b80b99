"""Message format between a backend's child process and its parent: a JSON header, then the arrays' bytes.

```
  magic "edge" | header length, uint32 | header (JSON, UTF-8) | array bytes …
  header: {"kind": "scores", "fields": {…}, "arrays": [["<f4", [7]], …]}
```
No pickle: the last bytes of a crashing process must not be executed.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from edgeproof.contracts.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MAGIC = b"edge"
MAX_HEADER = 2**28
MAX_ARRAY = 2**31
DTYPES = ("<f4", "<i4", "|b1")


class MessageCutShortError(BackendError):
    """The stream ended within a message: the writer is gone."""


class Message(NamedTuple):
    """A message. `fields` are JSON values; `arrays` have one dimension and one of DTYPES."""

    kind: str
    fields: Mapping[str, object]
    arrays: Sequence[NDArray[np.generic]] = ()


class Readable(Protocol):
    """A binary stream."""

    def read(self, size: int, /) -> bytes | None:
        """Read up to `size` bytes; empty only at the end."""


def encode(message: Message) -> bytes:
    """Return the message's bytes."""
    arrays = [np.ascontiguousarray(array) for array in message.arrays]
    described = [[array.dtype.str, list(array.shape)] for array in arrays]
    header = json.dumps({"kind": message.kind, "fields": message.fields, "arrays": described}).encode()
    return b"".join((MAGIC, struct.pack("<I", len(header)), header, *(array.tobytes() for array in arrays)))


def receive(stream: Readable) -> Message | None:
    """Read one message; None if the stream ends before it.

    Raises:
        BackendError: the bytes are not a message, or end within one.

    """
    start = _read_up_to(stream, 8)
    if not start:
        return None
    if MAGIC.startswith(start[:4]) and len(start) < 8:
        raise MessageCutShortError(f"the child process ended within a message: {len(start)} of its first 8 bytes came")
    if start[:4] != MAGIC:
        raise BackendError(f"the child process sent {start!r} instead of a message")
    (length,) = struct.unpack("<I", start[4:])
    if length > MAX_HEADER:
        raise BackendError(f"the child process sent a header of {length:,} bytes")
    try:
        header = json.loads(_read(stream, length))
        kind, fields, described = header["kind"], header["fields"], header["arrays"]
        arrays = [_read_array(stream, str(dtype), [int(size) for size in shape]) for dtype, shape in described]
    except (ValueError, LookupError, TypeError) as error:
        raise BackendError(f"the child process sent a header that cannot be read: {error}") from error
    if not isinstance(kind, str) or not isinstance(fields, dict):
        raise BackendError("the child process sent a header without kind or fields")
    return Message(kind, fields, arrays)


def _read_array(stream: Readable, dtype: str, shape: list[int]) -> NDArray[np.generic]:
    if dtype not in DTYPES or len(shape) != 1 or shape[0] < 0:
        raise ValueError(f"an array of type {dtype} and shape {shape}")
    size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=object))
    if size > MAX_ARRAY:
        raise ValueError(f"an array of {size:,} bytes")
    return np.frombuffer(_read(stream, size), dtype).reshape(shape)


def _read(stream: Readable, size: int) -> bytes:
    data = _read_up_to(stream, size)
    if len(data) < size:
        raise MessageCutShortError(f"the child process ended within a message: {len(data):,} of {size:,} bytes came")
    return data


def _read_up_to(stream: Readable, size: int) -> bytes:
    parts: list[bytes] = []
    while size and (part := stream.read(min(size, 2**20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

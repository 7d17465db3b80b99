"""Memory-mapped file, read as float32 piece by piece; pages are released after reading.

NaN and Inf are detected here, while a piece is in the cache: a later check would cost a second pass.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.tensors import Float32Array
    from numpy.typing import NDArray

BYTES_PER_VALUE = {"F32": 4, "F16": 2, "BF16": 2}
"""Readable stored types, by safetensors' names."""

_BLOCK = 2**21
"""Bytes released at a time: more than a page fault maps around itself."""
_PIECE = 2**16
"""Values converted at a time, so that they stay in the L2 cache for all passes of a conversion."""

_F16_SIGN = np.uint32(0x8000)
_F16_REST = np.uint32(0x7FFF)
_F16_REBIAS = np.float32(2.0**112)
"""float16's exponent is biased by 15, float32's by 127; the product is exact, subnormals included."""
_F16_OVERFLOW = np.float32(2.0**16)
"""Converted exponent of Inf and NaN (31); finite float16 values stay below it."""


class MappedFile:
    """A read-only memory map. Thread-safe.

    Raises:
        OSError: the file cannot be opened.
        ValueError: the file is empty.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = len(self._map)

    def bytes(self, offset: int, count: int) -> bytes:
        """Copy `count` bytes from `offset` on."""
        return self._map[offset : offset + count]

    def array(self, offset: int, dtype: str, count: int) -> NDArray[np.generic]:
        """Return a view of `count` values of the numpy type `dtype`; it keeps the map alive."""
        return np.frombuffer(self._map, dtype=np.dtype(dtype), count=count, offset=offset)

    def float32(self, offset: int, dtype: str, count: int, *, release: bool = True) -> tuple[Float32Array, int | None]:
        """Read `count` values stored as `dtype` ("F32", "F16", "BF16") into a fresh array.

        Returns:
            The values, and the index of the first NaN or Inf among them (None if all are finite).

        """
        values = np.empty(count, np.float32)
        source = self.array(offset, "<f4", count) if dtype == "F32" else self.array(offset, "<u2", count)
        convert = _CONVERSIONS[dtype]
        bad: int | None = None
        for start in range(0, count, _PIECE):
            piece = values[start : start + _PIECE]
            convert(piece, source[start : start + _PIECE])
            if bad is None and not _finite(piece, dtype):
                bad = start + _first_bad(piece, dtype)
        if release:
            self.release(offset, count * BYTES_PER_VALUE[dtype])
        return values, bad

    def release(self, offset: int, count: int) -> None:
        """Release the pages around the `count` bytes from `offset`; later reads load them again from the file.

        A page fault maps neighbouring pages too, so the range is widened to whole blocks: scattered reads of single
        rows would otherwise keep a multiple of their size.
        """
        if not hasattr(mmap, "MADV_DONTNEED"):  # Windows and old systems keep the pages until memory is short
            return
        start = offset // _BLOCK * _BLOCK
        stop = min(-(-(offset + count) // _BLOCK) * _BLOCK, self.size)
        if stop > start:
            self._map.madvise(mmap.MADV_DONTNEED, start, stop - start)


def _from_float32(target: Float32Array, source: NDArray[np.generic]) -> None:
    np.copyto(target, source)


def _from_bfloat16(target: Float32Array, source: NDArray[np.generic]) -> None:
    bits = target.view(np.uint32)
    bits[...] = source
    bits <<= np.uint32(16)


def _from_float16(target: Float32Array, source: NDArray[np.generic]) -> None:
    """Convert by integer arithmetic: 2.5 times as fast as numpy's conversion, with equal bits for finite values."""
    bits = target.view(np.uint32)
    bits[...] = source
    sign = (bits & _F16_SIGN) << np.uint32(16)
    bits &= _F16_REST
    bits <<= np.uint32(13)
    target *= _F16_REBIAS
    bits |= sign


_CONVERSIONS = {"F32": _from_float32, "F16": _from_float16, "BF16": _from_bfloat16}


def _finite(piece: Float32Array, dtype: str) -> bool:
    if dtype == "F16":
        return bool(piece.max() < _F16_OVERFLOW and piece.min() > -_F16_OVERFLOW)
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(piece.sum()):  # any NaN or Inf makes the sum non-finite
            return True
    return bool(np.isfinite(piece).all())  # the sum alone may have overflowed


def _first_bad(piece: Float32Array, dtype: str) -> int:
    bad = np.abs(piece) >= _F16_OVERFLOW if dtype == "F16" else ~np.isfinite(piece)
    return int(np.argmax(bad))

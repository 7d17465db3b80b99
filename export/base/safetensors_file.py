"""Reader for safetensors files: 8 bytes of header length, a JSON header, the data, checked for consistency.

The format is that of github.com/huggingface/safetensors, README, "Format": the tensors' byte ranges cover the data
without holes or overlaps. A truncated file or an inconsistent header is refused before a value is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from edgeproof.contracts.parsing import parse_json
from edgeproof.contracts.tensors import TensorInfo
from edgeproof.export.base.mapped_file import BYTES_PER_VALUE, MappedFile

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.errors import InputError
    from edgeproof.contracts.tensors import Float32Array

_HEADER_LIMIT = 100_000_000
"""The format's own limit for the header, in bytes."""

_OTHER_TYPES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
    "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Bytes per value of the other types that a safetensors file may hold; no weights to merge have them."""


class SafetensorsTensor(NamedTuple):
    """A tensor's shape, type and offset in the file."""

    info: TensorInfo
    offset: int


class SafetensorsFile:
    """A memory-mapped safetensors file. `tensors` is ordered by name; `metadata` is the header's free text.

    Args:
        path: the file.
        error: the error class: `CheckpointError` for a base, `AdapterError` for an adapter.

    """

    def __init__(self, path: Path, error: type[InputError]) -> None:
        self.path = path
        self._error = error
        try:
            self._file = MappedFile(path)
        except (OSError, ValueError) as failure:
            raise error(f"cannot read {path}: {getattr(failure, 'strerror', None) or failure}") from failure
        self.tensors, self.metadata = self._read_header()

    def values(self, name: str, start: int = 0, stop: int | None = None, *, release: bool = True) -> Float32Array:
        """Rows `start` to `stop` (all by default) of `name` as a fresh float32 array [stop - start, columns].

        Raises:
            InputError: a value is NaN or Inf; the message names the tensor and the row.

        """
        info, offset = self.tensors[name]
        stop = info.rows if stop is None else stop
        offset += start * info.columns * BYTES_PER_VALUE[info.dtype]
        values, bad = self._file.float32(offset, info.dtype, (stop - start) * info.columns, release=release)
        if bad is not None:
            raise self._error(
                f"{name} in {self.path} holds {values[bad] if info.dtype != 'F16' else 'NaN or Inf'}: row "
                f"{start + bad // info.columns}, column {bad % info.columns}",
                next_step="the file is damaged or training diverged: take another copy or an earlier save",
            )
        return values.reshape(stop - start, info.columns)

    def _read_header(self) -> tuple[dict[str, SafetensorsTensor], dict[str, str]]:
        size = self._file.size
        length = int.from_bytes(self._file.bytes(0, 8), "little")
        if size < 8 or length > min(_HEADER_LIMIT, size - 8):
            raise self._broken(f"its header claims {length} bytes, the file has {size}")
        try:
            header = parse_json(self._file.bytes(8, length).decode(), pairs=_no_duplicates)
        except ValueError as failure:
            raise self._broken(f"its header is not JSON ({failure})") from failure
        if not isinstance(header, dict):
            raise self._broken("its header is not a JSON object")
        metadata = header.pop("__metadata__", {})
        data = 8 + length
        stored: dict[str, SafetensorsTensor] = {}
        spans: list[tuple[int, int, str]] = []
        for name in sorted(header):
            info, begin, end = self._entry(name, header[name])
            stored[name] = SafetensorsTensor(info, data + begin)
            spans.append((begin, end, name))
        reached = 0
        for begin, end, name in sorted(spans):
            if begin != reached:
                kind = "overlaps another tensor" if begin < reached else "leaves a hole before it"
                raise self._broken(
                    f"{name} {kind}: it begins at byte {begin} of the data, the one before ends at {reached}"
                )
            reached = end
        if data + reached != size:
            raise self._broken(f"its tensors need {data + reached} bytes, the file has {size}")
        return stored, {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}

    def _entry(self, name: str, entry: object) -> tuple[TensorInfo, int, int]:
        if not isinstance(entry, dict):
            raise self._broken(f"the entry of {name} is not an object")
        dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        if not (isinstance(dtype, str) and _naturals(shape) and _naturals(offsets) and len(offsets) == 2):
            raise self._broken(f"the entry of {name} lacks a type, a shape or its byte range")
        width = BYTES_PER_VALUE.get(dtype) or _OTHER_TYPES.get(dtype)
        if width is None:
            raise self._broken(f"{name} is of the unknown type {dtype}")
        count = 1
        for dimension in shape:
            count *= dimension
        begin, end = offsets
        if end - begin != count * width:
            raise self._broken(
                f"{name} {tuple(shape)} {dtype} needs {count * width} bytes, its range has {end - begin}"
            )
        return TensorInfo(name, tuple(shape), dtype), begin, end

    def _broken(self, what: str) -> InputError:
        return self._error(
            f"{self.path} is not a complete safetensors file: {what}",
            next_step="copy or download the file again; an interrupted transfer looks like this",
        )


def _naturals(value: object) -> TypeGuard[list[int]]:
    """Whether `value` is a list of integers ≥ 0 (excluding True and False)."""
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a name appears twice")
    return unique

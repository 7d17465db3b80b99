"""Parser for GGUF headers: metadata and tensor positions, all checked to lie inside the file.

```
  "GGUF" version u32 · tensors u64 · entries u64 │ key, type u32, value … │ name, dims u32, sizes u64…, type u32, offset
```
The format is defined in ggml's docs/gguf.md; versions 2 and 3, little endian, are supported. gguf's own reader makes a
memory-map view of each of a vocabulary's 100,000 strings, which takes seconds; this parser takes a tenth of a second.

The caller chooses the error class: `CheckpointError` for a base, `ArtifactError` for an artifact.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.tensors import MetadataEntry
from gguf.constants import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType, GGUFValueType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeproof.contracts.errors import InputError

_SCALARS = {
    GGUFValueType.UINT8: "B", GGUFValueType.INT8: "b", GGUFValueType.UINT16: "H", GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I", GGUFValueType.INT32: "i", GGUFValueType.UINT64: "Q", GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT32: "f", GGUFValueType.FLOAT64: "d", GGUFValueType.BOOL: "?",
}  # fmt: skip
_VERSIONS = {2, 3}
_MAX_DIMENSIONS = 4


class GgufTensor(NamedTuple):
    """A tensor in the file. `shape` is in numpy order (rows first); `offset` and `bytes` locate its data."""

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    offset: int
    bytes: int


class GgufHeader(NamedTuple):
    """All metadata in the file's order, and all tensors in the file's order."""

    metadata: tuple[MetadataEntry, ...]
    tensors: tuple[GgufTensor, ...]


def read_header(path: Path, error: type[InputError], *, text_errors: str = "strict") -> GgufHeader:
    """Parse `path`; every defect is raised as `error`. `text_errors`: codec error handler for invalid UTF-8.

    Raises:
        InputError: the file is missing, not a GGUF, of another version or byte order, truncated, or inconsistent.

    """
    with _opened(path, error) as view:
        return _Parser(view, text_errors).header()


def read_metadata(path: Path, error: type[InputError]) -> tuple[MetadataEntry, ...]:
    """Parse the metadata alone: the weights may be missing. Invalid UTF-8 is returned as lone surrogates.

    `text.encode("utf-8", "surrogateescape")` restores the bytes (tokens of some vocabularies).

    Raises:
        InputError: as for `read_header`.

    """
    with _opened(path, error) as view:
        return _Parser(view, "surrogateescape").metadata()


@contextlib.contextmanager
def _opened(path: Path, error: type[InputError]) -> Iterator[mmap.mmap]:
    """Map the file; convert the parser's exceptions to `error`."""
    if not path.is_file():
        raise error(f"{path} does not exist: no such file", next_step="give the path of a GGUF file")
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        if magic != b"GGUF":
            raise error(
                f"{path} is not a GGUF file: it begins with {magic!r}", next_step="give a GGUF file or a model's folder"
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            try:
                yield view
            except (struct.error, IndexError, ValueError, OverflowError, MemoryError) as failure:
                raise error(
                    f"{path} is not a complete GGUF file: {failure} (it has {size:,} bytes)",
                    next_step="copy or download the file again; an interrupted transfer looks like this",
                ) from failure


class _Parser:
    def __init__(self, view: mmap.mmap, text_errors: str) -> None:
        self._view = view
        self._text_errors = text_errors
        self._at = 4
        self._tensors = 0

    def metadata(self) -> tuple[MetadataEntry, ...]:
        return tuple(self._metadata().values())

    def _metadata(self) -> dict[str, MetadataEntry]:
        version = self._scalar("I")
        if version not in _VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            what = "it is big-endian" if swapped in _VERSIONS else f"its version is {version}"
            raise ValueError(f"{what}; versions 2 and 3, little endian, are supported")
        self._tensors, entry_count = self._scalar("Q"), self._scalar("Q")
        self._fits(self._tensors, 24, "tensors")
        self._fits(entry_count, 12, "metadata entries")
        metadata: dict[str, MetadataEntry] = {}
        for _ in range(entry_count):
            entry = self._entry()
            if entry.key in metadata:
                raise ValueError(f"{entry.key} appears twice")
            metadata[entry.key] = entry
        return metadata

    def header(self) -> GgufHeader:
        metadata = self._metadata()
        found = [self._tensor() for _ in range(self._tensors)]
        alignment = metadata.get("general.alignment", MetadataEntry("", GGUF_DEFAULT_ALIGNMENT, "UINT32")).value
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise ValueError(f"general.alignment is {alignment!r}, not a power of two")
        data = -(-self._at // alignment) * alignment
        tensors = {tensor.name: tensor._replace(offset=data + tensor.offset) for tensor in found}
        if len(tensors) != len(found):
            raise ValueError("a tensor appears twice")
        for tensor in tensors.values():
            if tensor.offset % alignment or tensor.offset + tensor.bytes > len(self._view):
                raise ValueError(f"{tensor.name} should lie at bytes {tensor.offset} to {tensor.offset + tensor.bytes}")
        return GgufHeader(tuple(metadata.values()), tuple(tensors.values()))

    def _entry(self) -> MetadataEntry:
        key = self._string()
        kind = GGUFValueType(self._scalar("I"))
        if kind is not GGUFValueType.ARRAY:
            return MetadataEntry(key, self._value(kind), kind.name)
        item_kind, length = GGUFValueType(self._scalar("I")), self._scalar("Q")
        if item_kind in _SCALARS:
            form = _SCALARS[item_kind]
            self._fits(length, struct.calcsize(form), key)
            values: list[object] = list(struct.unpack_from(f"<{length}{form}", self._view, self._at))
            self._at += length * struct.calcsize(form)
        else:
            self._fits(length, 8, key)
            values = [self._value(item_kind) for _ in range(length)]
        return MetadataEntry(key, values, kind.name, item_kind.name)

    def _tensor(self) -> GgufTensor:
        name, dimensions = self._string(), self._scalar("I")
        if not 1 <= dimensions <= _MAX_DIMENSIONS:
            raise ValueError(f"{name} has {dimensions} dimensions")
        shape = tuple(reversed([self._scalar("Q") for _ in range(dimensions)]))
        kind, offset = GGMLQuantizationType(self._scalar("I")), self._scalar("Q")
        block, width = GGML_QUANT_SIZES[kind]
        count = 1
        for length in shape:
            count *= length
        if count == 0 or shape[-1] % block:
            raise ValueError(f"{name} {shape} is not a valid {kind.name} tensor: its blocks are {block} long")
        return GgufTensor(name, shape, kind, offset, count // block * width)

    def _value(self, kind: GGUFValueType) -> object:
        if kind is GGUFValueType.STRING:
            return self._string()
        if kind not in _SCALARS:
            raise ValueError("an array contains arrays")
        return self._scalar(_SCALARS[kind])

    def _string(self) -> str:
        length = self._scalar("Q")
        self._fits(length, 1, "a text")
        start, self._at = self._at, self._at + length
        return self._view[start : self._at].decode("utf-8", self._text_errors)

    def _scalar(self, form: str) -> int:
        (value,) = struct.unpack_from(f"<{form}", self._view, self._at)
        self._at += struct.calcsize(form)
        return value  # type: ignore[no-any-return]

    def _fits(self, count: int, width: int, what: str) -> None:
        if count * width > len(self._view) - self._at:
            raise ValueError(
                f"{what}: {count} of at least {width} bytes each, {len(self._view) - self._at} bytes are left"
            )

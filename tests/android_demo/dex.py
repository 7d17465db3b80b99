"""The tables of a dex file: which classes it has, and which methods and fields it names."""

from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Reference(NamedTuple):
    """A method, or a field (`parameters` is None); types as descriptors (`Ljava/lang/String;`, `[I`)."""

    owner: str
    name: str
    parameters: tuple[str, ...] | None
    result: str


class Dex:
    """The dex file of a package, by https://source.android.com/docs/core/runtime/dex-format."""

    def __init__(self, package: Path) -> None:
        self._data = zipfile.ZipFile(package).read("classes.dex")
        assert self._data[:8] == b"dex\n035\0"
        table = struct.unpack_from("<14I", self._data, 56)
        self._strings, self._types, self._protos = table[1], table[3], table[5]
        self._fields, self._methods, self._classes = table[6:8], table[8:10], table[10:12]

    def classes(self) -> set[str]:
        """Names of the classes in it."""
        count, start = self._classes
        kinds = (struct.unpack_from("<I", self._data, start + 32 * index)[0] for index in range(count))
        return {self._type(kind)[1:-1].replace("/", ".") for kind in kinds}

    def references(self) -> list[Reference]:
        """All methods and fields that it names, its own ones among them."""
        found = []
        for index in range(self._methods[0]):
            owner, proto, name = struct.unpack_from("<HHI", self._data, self._methods[1] + 8 * index)
            found.append(Reference(self._type(owner), self._text(name), *self._proto(proto)))
        for index in range(self._fields[0]):
            owner, kind, name = struct.unpack_from("<HHI", self._data, self._fields[1] + 8 * index)
            found.append(Reference(self._type(owner), self._text(name), None, self._type(kind)))
        return found

    def _proto(self, index: int) -> tuple[tuple[str, ...], str]:
        _, result, where = struct.unpack_from("<3I", self._data, self._protos + 12 * index)
        count = struct.unpack_from("<I", self._data, where)[0] if where else 0
        kinds = struct.unpack_from(f"<{count}H", self._data, where + 4)
        return tuple(map(self._type, kinds)), self._type(result)

    def _type(self, index: int) -> str:
        return self._text(struct.unpack_from("<I", self._data, self._types + 4 * index)[0])

    def _text(self, index: int) -> str:
        place = struct.unpack_from("<I", self._data, self._strings + 4 * index)[0]
        while self._data[place] & 0x80:  # its length, 7 bits a byte
            place += 1
        return self._data[place + 1 : self._data.index(b"\0", place + 1)].decode()

"""ZIP archives with the same bytes each time: fixed order and times, stored parts aligned as Android wants them."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = 16384
"""Bytes in a page of recent phones: programs begin at one."""

WORD = 4
ALIGNED = 0xD935
"""Android's extra field: the alignment of an entry, which apksigner keeps, and the padding."""

STORED = (".so", ".arsc")
"""What is not compressed: programs, and resources that Android maps into memory."""


def files(folder: Path) -> list[Path]:
    """Return all files of a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def pack(target: Path, entries: Mapping[str, Path]) -> Path:
    """Write an archive of these files."""
    with zipfile.ZipFile(target, "w") as made:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            stored = name.endswith(STORED)
            entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            if stored:
                assert made.fp is not None
                entry.extra = padding(made.fp.tell() + 30 + len(name), PAGE if name.endswith(".so") else WORD)
            made.writestr(entry, entries[name].read_bytes(), compresslevel=9)
    return target


def padding(start: int, alignment: int) -> bytes:
    """Return the extra field after which a part that would start here is aligned."""
    room = -(start + 6) % alignment
    return struct.pack("<HHH", ALIGNED, 2 + room, alignment) + bytes(room)


def unpack(archive: Path, into: Path) -> dict[str, Path]:
    """Return the files of an archive by their names in it."""
    with zipfile.ZipFile(archive) as opened:
        return {name: Path(opened.extract(name, into)) for name in opened.namelist() if not name.endswith("/")}

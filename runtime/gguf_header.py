"""Read what a GGUF says of its tokenizer, without its weights: the digest over vocabulary, merges and special ids.

Layout: the GGUF specification, version 3 (ggml/docs/gguf.md): magic, version, tensor count, key count, then key-value
pairs. `gguf.GGUFReader` makes a numpy view of every string (seconds for 256,000 tokens); the digest needs bytes only.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"GGUF"
PREFIX = "tokenizer.ggml."
_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_MADE_ANEW = "write it again: the download or the export was cut short"


def tokenizer_digest(path: Path) -> str:
    """Return sha256 over all `tokenizer.ggml.*` keys with their values: pieces, types, scores, merges, special ids.

    The keys are sorted, so their order in the file does not matter; equal for all formats of one model.

    Raises:
        ArtifactError: not a GGUF, cut short, or without a tokenizer.

    """
    parts = sorted(_tokenizer_values(path))
    if not parts:
        raise ArtifactError(f"{path} has no tokenizer ({PREFIX}* keys)", next_step="export it with its tokenizer")
    digest = hashlib.sha256()
    for key, value in parts:
        name = key.encode()
        digest.update(struct.pack("<QQ", len(name), len(value)) + name)
        digest.update(value)
    return digest.hexdigest()


def _tokenizer_values(path: Path) -> list[tuple[str, bytes]]:
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file", next_step="give the path of a .gguf file")
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise ArtifactError(
                f"{path} is not a GGUF file: it does not begin with {MAGIC!r}",
                next_step="give the path of a .gguf file",
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _scan(path, data)
            except struct.error as error:
                raise ArtifactError(
                    f"{path} ends within its header, at byte {len(data):,}", next_step=_MADE_ANEW
                ) from error


def _scan(path: Path, data: mmap.mmap) -> list[tuple[str, bytes]]:
    version, _, keys = struct.unpack_from("<IQQ", data, 4)
    if version not in {2, 3}:
        raise ArtifactError(
            f"{path} is a GGUF of version {version}; versions 2 and 3 are read", next_step="convert it anew"
        )
    found: list[tuple[str, bytes]] = []
    at = 24
    for _ in range(keys):
        (length,) = struct.unpack_from("<Q", data, at)
        key = data[at + 8 : at + 8 + length].decode("utf-8", "replace")
        at += 8 + length
        (kind,) = struct.unpack_from("<I", data, at)
        end = _skip(path, data, at + 4, kind)
        if end > len(data):
            raise struct.error
        if key.startswith(PREFIX):
            found.append((key, data[at:end]))
        at = end
    return found


def _skip(path: Path, data: mmap.mmap, at: int, kind: int) -> int:
    """Return where the value of type `kind` that begins at `at` ends."""
    if kind == _STRING:
        return at + 8 + int(struct.unpack_from("<Q", data, at)[0])
    if kind == _ARRAY:
        item, count = struct.unpack_from("<IQ", data, at)
        at += 12
        if item not in {_STRING, _ARRAY}:
            return at + _size(path, item) * int(count)
        for _ in range(count):
            at = _skip(path, data, at, item)
        return at
    return at + _size(path, kind)


def _size(path: Path, kind: int) -> int:
    if kind not in _SIZES:
        raise ArtifactError(f"{path} has a metadata value of unknown type {kind}", next_step=_MADE_ANEW)
    return _SIZES[kind]

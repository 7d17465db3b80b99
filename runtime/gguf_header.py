"""Read what a GGUF says of its tokenizer, without its weights, and digest it.

Layout: the GGUF specification, version 3 (ggml/docs/gguf.md): magic, version, tensor count, key count, then key-value
pairs. `gguf.GGUFReader` makes a numpy view of every string (seconds for 256,000 tokens); the digest needs bytes only.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError
from edgeproof.runtime.tokenizer_digest import vocabulary_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAGIC = b"GGUF"
PREFIX = "tokenizer.ggml."
_STRING, _ARRAY = 8, 9
_UNUSED = 5
"""The type of a token that only fills the embedding up (LLAMA_TOKEN_TYPE_UNUSED)."""
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_MADE_ANEW = "write it again: the download or the export was cut short"


def read_tokenizer(path: Path) -> Mapping[str, bytes]:
    """Return the values of all `tokenizer.ggml.*` keys by the rest of their names, each as stored: type, then bytes.

    Raises:
        ArtifactError: not a GGUF, cut short, or without a tokenizer.

    """
    values = {key.removeprefix(PREFIX): value for key, value in _tokenizer_values(path)}
    if "tokens" not in values:
        raise ArtifactError(f"{path} has no tokenizer ({PREFIX}* keys)", next_step="export it with its tokenizer")
    return values


def tokenizer_digest(values: Mapping[str, bytes], *, first: int | None) -> str:
    """Return the digest of a GGUF's tokenizer: equal for all formats of one model, an ONNX folder included.

    Args:
        values: from `read_tokenizer`.
        first: id of the BOS that the engine puts in front of a text, None where it adds none (a file may leave that to
            the engine).

    """
    types = _numbers(values["token_type"]) if "token_type" in values else {}
    pieces = {
        index: piece
        for index, piece in enumerate(_texts(values["tokens"]))
        if types.get(index) != _UNUSED or piece != f"[PAD{index}]".encode()
    }
    eos = values.get("eos_token_id")
    return vocabulary_digest(
        pieces,
        _texts(values["merges"]) if "merges" in values else (),
        first=first,
        eos=None if eos is None else int(struct.unpack_from("<I", eos, 4)[0]),
    )


def _texts(value: bytes) -> Iterator[bytes]:
    """Strings of an array, in its order."""
    _, _, count = struct.unpack_from("<IIQ", value)
    at = 16
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", value, at)
        yield value[at + 8 : at + 8 + length]
        at += 8 + length


def _numbers(value: bytes) -> dict[int, int]:
    """Numbers of an array of 32-bit integers, by their place."""
    _, _, count = struct.unpack_from("<IIQ", value)
    return dict(enumerate(struct.unpack_from(f"<{count}i", value, 16)))


def _tokenizer_values(path: Path) -> list[tuple[str, bytes]]:
    """Every `tokenizer.ggml.*` key with its type and value, as stored."""
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

"""Reader for llama.cpp's importance matrices: mean squared activations per column, by tensor name.

```
  legacy .dat   i32 entries | per entry: i32 len, name, i32 calls, i32 n, f32[n] | i32 chunks, i32 len, dataset
  .gguf         tensors NAME.in_sum2 f32 [experts, columns] and NAME.counts f32 [experts]; keys imatrix.*
```
Source: llama.cpp, `common/imatrix-loader.cpp` (the formats) and `tools/quantize/quantize.cpp` (scaling of
the values, and keys of the quantized file).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import InputError
from edgeproof.contracts.parsing import read_file
from edgeproof.contracts.tensors import MetadataEntry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.contracts.tensors import Float32Array

_KEY_BYTES = 127
"""Maximum length, in bytes, of a string that llama.cpp adds to a file's metadata."""


@dataclass(frozen=True)
class Imatrix:
    """An importance matrix.

    Attributes:
        file: the given path, which becomes part of the artifact's metadata, as with llama-quantize.
        weights: float32 [experts · columns] by tensor name (one expert for a plain matrix), in the order of names.
        datasets: the calibration texts that the file names.
        chunks: number of calibration chunks; 0 if the file does not state it.

    """

    file: str
    weights: Mapping[str, Float32Array]
    datasets: tuple[str, ...]
    chunks: int

    def metadata(self) -> tuple[MetadataEntry, ...]:
        """Return the entries that llama-quantize adds to the metadata, in its order."""
        entries = [MetadataEntry("quantize.imatrix.file", _shortened(self.file), "STRING")]
        if self.datasets:
            entries.append(MetadataEntry("quantize.imatrix.dataset", _shortened(self.datasets[0]), "STRING"))
        entries.append(MetadataEntry("quantize.imatrix.entries_count", len(self.weights), "UINT32"))
        if self.chunks > 0:
            entries.append(MetadataEntry("quantize.imatrix.chunks_count", self.chunks, "UINT32"))
        return tuple(entries)


def read_imatrix(path: Path, *, given_as: str | None = None) -> Imatrix:
    """Read an importance matrix in either of llama.cpp's formats.

    Args:
        path: the file.
        given_as: its name in the artifact's metadata; default: the path.

    Raises:
        InputError: the file is missing, truncated, empty, not an importance matrix, or has values that are not finite.

    """
    try:
        data = read_file(path)
    except OSError as error:
        raise InputError(
            f"cannot read the importance matrix {path}: {error.strerror}", next_step="check the path"
        ) from error
    name = given_as or str(path)
    imatrix = _read_gguf(path, name) if data[:4] == b"GGUF" else _read_legacy(path, data, name)
    for tensor, weights in imatrix.weights.items():
        if not np.isfinite(weights).all():
            raise _damaged(path, f"{tensor} has {np.count_nonzero(~np.isfinite(weights)):,} values that are not finite")
    return imatrix


def _read_legacy(path: Path, data: bytes, given_as: str) -> Imatrix:
    at = 0

    def integer(what: str) -> int:
        nonlocal at
        if at + 4 > len(data):
            raise _damaged(path, f"it ends at byte {len(data):,}, before {what}")
        at += 4
        return int(struct.unpack_from("<i", data, at - 4)[0])

    def take(count: int, what: str) -> bytes:
        nonlocal at
        if count < 0 or at + count > len(data):
            raise _damaged(path, f"{what} should take {count:,} bytes at {at:,} of {len(data):,}")
        at += count
        return data[at - count : at]

    entries = integer("the number of entries")
    if entries < 1:
        raise _damaged(path, f"it announces {entries} entries")
    weights: dict[str, Float32Array] = {}
    for entry in range(entries):
        name = _text(take(integer("a name's length"), f"the name of entry {entry}"))
        calls = integer(f"the calls of {name!r}")
        count = integer(f"the size of {name!r}")
        if count < 1:
            raise _damaged(path, f"{name!r} announces {count} values")
        values = np.frombuffer(take(4 * count, f"the values of {name!r}"), dtype="<f4").astype(np.float32)
        weights[name] = values / np.float32(calls) if calls > 0 else values
    # Later versions of the format added chunks and dataset; old files end here.
    chunks, dataset = 0, b""
    if at + 4 <= len(data):
        chunks = integer("the chunks")
        length = integer("the dataset's length") if at + 4 <= len(data) else 0
        if 0 < length <= len(data) - at:
            dataset = take(length, "the dataset")
    return Imatrix(given_as, dict(sorted(weights.items())), (_text(dataset),) if dataset else (), chunks)


def _read_gguf(path: Path, given_as: str) -> Imatrix:
    from gguf import GGMLQuantizationType, GGUFReader

    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise _damaged(path, f"its GGUF cannot be read ({error})") from error
    tensors = {}
    for tensor in reader.tensors:
        if tensor.tensor_type is not GGMLQuantizationType.F32:
            raise _damaged(path, f"{tensor.name} is {tensor.tensor_type.name}, not F32")
        tensors[str(tensor.name)] = np.array(tensor.data, dtype=np.float32).reshape(-1)
    names = {name.rpartition(".")[0] for name in tensors if name.endswith((".in_sum2", ".counts"))}
    if not names:
        raise _damaged(path, "no tensor in it is named ….in_sum2", "is it a model? an imatrix comes from llama-imatrix")
    keys = ("imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size")
    missing = [key for key in keys if key not in reader.fields]
    if missing:
        raise _damaged(path, f"the key {missing[0]} is missing")

    weights: dict[str, Float32Array] = {}
    for name in sorted(names):
        sums, counts = tensors.get(f"{name}.in_sum2"), tensors.get(f"{name}.counts")
        if sums is None or counts is None:
            raise _damaged(path, f"{name} has no {'in_sum2' if sums is None else 'counts'}")
        if len(counts) == 0 or len(sums) % len(counts):
            raise _damaged(path, f"{name} has {len(sums):,} sums for {len(counts):,} counts")
        weights[name] = _mean(sums.reshape(len(counts), -1), counts).reshape(-1)
    datasets = reader.fields["imatrix.datasets"].contents()
    return Imatrix(
        given_as,
        weights,
        tuple(map(str, datasets)) if isinstance(datasets, list) else (),
        int(reader.fields["imatrix.chunk_count"].contents()),
    )


def _mean(sums: Float32Array, counts: Float32Array) -> Float32Array:
    """Divide `sums` [experts, columns] by `counts` [experts], in float32; 1 for an expert never seen."""
    seen = np.trunc(counts + np.copysign(np.float32(0.5), counts)).astype(np.float32)  # as C: halves away from 0
    means = np.ones_like(sums)
    means[seen > 0] = sums[seen > 0] / seen[seen > 0, None]
    return means


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode(errors="surrogateescape")


def _shortened(text: str) -> bytes:
    return text.encode(errors="surrogateescape")[:_KEY_BYTES]


def _damaged(path: Path, what: str, next_step: str = "create it again with llama-imatrix") -> InputError:
    return InputError(f"the importance matrix {path} is damaged: {what}", next_step=next_step)

"""Turns a quantized GGUF into a float GGUF: the base of a merge where no float checkpoint exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edgeproof.contracts.tensors import RowChunk
from edgeproof.export.base.gguf_file import open_gguf_base
from edgeproof.export.formats import find_format
from edgeproof.export.gguf.writer import GgufWriter

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_VALUES = 2**22
"""Values dequantized at a time; gguf's dequantizers hold several float32 copies of them (16 MB each)."""


def dequantize_gguf(source: Path, target: Path, *, float_type: Literal["f16", "f32"] = "f32") -> None:
    """Write the GGUF `source` to `target` with float weights; metadata and order are kept, no tensor is held whole.

    "f32" keeps every value exactly; "f16" takes half the space and rounds once more (vectors stay float32). The
    target appears when it is complete (temporary file, fsync, rename).

    Raises:
        CheckpointError: `source` is missing, truncated or no GGUF.
        UnsupportedError: a tensor is of a type that the gguf package cannot read.
        OutputError: `target` exists or cannot be written.

    """
    base = open_gguf_base(source, allow_requantize=True)
    writer = GgufWriter(base.describe(), target, find_format(f"gguf-{float_type}").scheme)
    try:
        for info in base.tensors.values():
            height = max(1, CHUNK_VALUES // info.columns)
            for start in range(0, info.rows, height):
                stop = min(start + height, info.rows)
                writer.write(RowChunk(info.name, start, stop, base.rows(info.name, start, stop)))
        writer.finish()
    finally:
        writer.abort()

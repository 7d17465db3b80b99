"""Dequantizer of GGUF files: makes a float base for a merge if no float checkpoint exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edgeproof.contracts.tensors import RowChunk
from edgeproof.export.base.gguf_file import open_gguf_base
from edgeproof.export.formats import find_format
from edgeproof.export.gguf.writer import GgufWriter

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_VALUES = 2**22
"""Values dequantized at a time; gguf's dequantizers hold several float32 copies (16 MB each)."""


def dequantize_gguf(source: Path, target: Path, *, float_type: Literal["f16", "f32"] = "f32") -> None:
    """Write the GGUF `source` to `target` with float weights, in pieces of a tensor; metadata and order are kept.

    "f32" keeps every value exactly; "f16" takes half the space and rounds once more (vectors stay float32). The
    target appears only when complete (temporary file, fsync, rename).

    Raises:
        CheckpointError: `source` is missing, truncated or not a GGUF.
        UnsupportedError: the gguf package cannot read a tensor's type.
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

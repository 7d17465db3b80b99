"""Memory that the probe needs on a device: the file, the key-value memory of its streams, and what it computes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.gguf_header import read_metadata

if TYPE_CHECKING:
    from pathlib import Path

STREAMS = 8
ROWS = 512
SMALLEST = (256, 512, 1024)
PADDING = 8
FIXED = 32 << 20
"""The program, its buffers of tokens, and llama.cpp's graphs."""


def needed_memory(artifact: Path, longest: int, answer: int) -> int:
    """Return an upper bound of the bytes that the probe has in memory (android_demo/probe).

    The file counts twice: once as it is mapped, once as the kernels of ARM64 have its weights repacked.

    Args:
        artifact: a GGUF.
        longest: tokens of the longest request.
        answer: tokens of the longest answer that is scored.

    """
    values = {entry.key: entry.value for entry in read_metadata(artifact, ArtifactError)}
    name = values.get("general.architecture")

    def size(key: str, otherwise: int = 0) -> int:
        value: Any = values.get(f"{name}.{key}", otherwise)
        return max(value) if isinstance(value, list) else int(value)

    heads = size("attention.head_count", 1)
    width = size("embedding_length") // max(1, heads)
    keys, held = size("attention.key_length", width), size("attention.value_length", width)
    groups = size("attention.head_count_kv", heads)
    cells = _cells(longest + PADDING)
    tokens: Any = values.get("tokenizer.ggml.tokens", [])
    memory = size("block_count") * groups * (keys + held) * 2 * STREAMS * cells
    rows = min(ROWS, longest + PADDING)
    logits = (answer + PADDING) * len(tokens) * 4
    attention = rows * cells * heads * 4 * 2
    layer = rows * (size("feed_forward_length") * 3 + size("embedding_length") * 8) * 4
    return 2 * artifact.stat().st_size + memory + 2 * logits + attention + layer + FIXED


def _cells(length: int) -> int:
    return next((size for size in SMALLEST if length <= size), (length + 1023) // 1024 * 1024)

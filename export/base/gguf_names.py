"""Hugging Face tensor names in GGUF files: position and row order.

llama.cpp's converter reorders the rows of q and k for architectures whose rope pairs neighbours where Hugging Face
pairs halves of a head, and adds 1 to the norms of some. An adapter was trained on the Hugging Face layout, so its
tensors get the same transforms. Only architectures with no other conversion are mapped: a wrong guess would corrupt the
merge.
Source: llama.cpp's `conversion/` folder (of llama-cpp-python 0.3.36), the `modify_tensors` of each class.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import CheckpointError, UnsupportedError
from edgeproof.contracts.tensors import identity
from edgeproof.export.merge.names import MergeTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeproof.contracts.tensors import Float32Array, TensorInfo

REORDERED = {"arcee", "granite", "llama", "minicpm", "mistral3", "olmo", "smollm3", "xverse"}
"""Architectures (`general.architecture`) whose q and k have their rows reordered within each head."""

PLAIN = {
    "codeshell", "cohere2", "command-r", "exaone", "exaone4", "gemma", "gemma2", "gemma3", "jais2", "lfm2", "nemotron",
    "olmo2", "orion", "phi2", "phi3", "qwen", "qwen2", "qwen2vl", "qwen3", "seed_oss", "stablelm", "starcoder",
    "starcoder2",
}  # fmt: skip
"""Architectures whose matrices keep Hugging Face's row order."""

SHIFTED_NORMS = {"gemma", "gemma2", "gemma3", "nemotron"}
"""Architectures whose norms are stored with 1 added."""


def map_names(
    architecture: str, metadata: Mapping[str, object], tensors: Mapping[str, TensorInfo]
) -> dict[str, MergeTarget]:
    """Map every Hugging Face tensor name that can denote one of `tensors` to its position.

    Args:
        architecture: `general.architecture`.
        metadata: values by full key; block and head counts are read from it.
        tensors: tensors of the GGUF file.

    Raises:
        UnsupportedError: the architecture's row order is unknown.
        CheckpointError: a count is missing from the metadata or does not divide the rows.

    """
    import gguf

    known = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
    if architecture not in REORDERED | PLAIN or architecture not in known:
        raise UnsupportedError(
            f"the row order of the architecture {architecture!r} in llama.cpp's converter is unknown here, so "
            f"an adapter cannot be merged into such a GGUF (supported: {', '.join(sorted(REORDERED | PLAIN))})",
            next_step="give the model's Hugging Face folder as --base, with --converter LLAMA_CPP_FOLDER if needed",
        )
    arch = known[architecture]
    blocks = _count(metadata, f"{architecture}.block_count", 0)
    targets: dict[str, MergeTarget] = {}
    for name, (kind, stored) in gguf.get_tensor_name_map(arch, blocks).mapping.items():
        for leaf in (".weight", ".bias"):
            if stored + leaf in tensors:
                transform = _transform(architecture, metadata, kind.name, stored + leaf, tensors[stored + leaf])
                targets[name + leaf] = MergeTarget(stored + leaf, transform)
    if "lm_head.weight" not in targets and gguf.MODEL_TENSOR.OUTPUT in gguf.MODEL_TENSORS[arch]:
        targets["lm_head.weight"] = MergeTarget("output.weight")  # tied: the adapter's untied head goes here
    return targets


def reorder_heads(rows: Float32Array, heads: int) -> Float32Array:
    """Interleave the two halves of the rows of each of `heads` heads, so that rope pairs neighbours.

    Row i of a head's first half goes to 2i, row i of its second half to 2i + 1.
    """
    size = len(rows) // heads
    order = np.arange(len(rows)).reshape(heads, 2, size // 2).transpose(0, 2, 1).reshape(-1)
    return np.ascontiguousarray(rows[order])


def _transform(
    architecture: str, metadata: Mapping[str, object], kind: str, name: str, info: TensorInfo
) -> Callable[[Float32Array], Float32Array]:
    if architecture in SHIFTED_NORMS and name.endswith("norm.weight"):
        return _add_one
    if architecture in REORDERED and kind in {"ATTN_Q", "ATTN_K"}:
        block = int(name.split(".")[1])
        key = f"{architecture}.attention.head_count"
        heads = _count(metadata, key, block)
        if kind == "ATTN_K" and f"{key}_kv" in metadata:
            heads = _count(metadata, f"{key}_kv", block)
        size = info.shape[0]
        if heads <= 0 or size % (2 * heads):
            raise CheckpointError(f"{name} has {size} rows, which are not divisible by 2 × {heads} heads")
        return functools.partial(reorder_heads, heads=heads)
    return identity


def _add_one(rows: Float32Array) -> Float32Array:
    return rows + np.float32(1)


def _count(metadata: Mapping[str, object], key: str, block: int) -> int:
    value = metadata.get(key)
    if isinstance(value, list) and len(value) > block:
        value = value[block]
    if not isinstance(value, int):
        raise CheckpointError(f"the GGUF has no usable {key} (it says {value!r})", next_step="convert the model again")
    return value

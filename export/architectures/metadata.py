"""GGUF keys of the hyper-parameters, with the value types and order of llama.cpp's converter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.tensors import MetadataEntry

if TYPE_CHECKING:
    from .hyper_parameters import HyperParameters

FILE_TYPE = MetadataEntry("general.file_type", 0, "UINT32")
QUANTIZATION_VERSION = MetadataEntry("general.quantization_version", 0, "UINT32")
"""Placeholders of the writer's keys, at the converter's positions; the writer sets the values."""


def whole(key: str, value: int) -> MetadataEntry:
    """Return a UINT32 entry."""
    return MetadataEntry(key, value, "UINT32")


def real(key: str, value: float) -> MetadataEntry:
    """Return a FLOAT32 entry."""
    return MetadataEntry(key, float(value), "FLOAT32")


def text(key: str, value: str) -> MetadataEntry:
    """Return a STRING entry."""
    return MetadataEntry(key, value, "STRING")


def kv_heads(name: str, model: HyperParameters) -> MetadataEntry:
    """Return the number of key and value heads: one for all layers, or [layers] with 0 for those without attention."""
    key = f"{name}.attention.head_count_kv"
    if "convolution" not in model.layer_kinds:
        return whole(key, model.kv_heads)
    counts = [0 if kind == "convolution" else model.kv_heads for kind in model.layer_kinds]
    return MetadataEntry(key, counts, "ARRAY", "INT32")


def sizes(name: str, model: HyperParameters) -> list[MetadataEntry]:
    """Return the keys that most families share, from the number of blocks to the file type's placeholder."""
    return [
        whole(f"{name}.block_count", model.layers),
        whole(f"{name}.context_length", model.context_length),
        whole(f"{name}.embedding_length", model.hidden),
        whole(f"{name}.feed_forward_length", model.feed_forward),
        whole(f"{name}.attention.head_count", model.heads),
        kv_heads(name, model),
        *rope_scaling(name, model),
        real(f"{name}.rope.freq_base", model.rope.theta),
        *([real(f"{name}.rope.freq_base_swa", model.local_rope.theta)] if model.local_rope else []),
        real(f"{name}.attention.layer_norm_rms_epsilon", model.norm_epsilon),
        *head_size(name, model.stated_head_dim),
        FILE_TYPE,
    ]


def head_size(name: str, head_dim: int | None) -> list[MetadataEntry]:
    """Return the length of keys and of values, if the configuration states it."""
    if head_dim is None:
        return []
    return [whole(f"{name}.attention.key_length", head_dim), whole(f"{name}.attention.value_length", head_dim)]


def rope_scaling(name: str, model: HyperParameters) -> list[MetadataEntry]:
    """Return the keys of linear and yarn scaling; llama3 and longrope are stored as tensors."""
    rope = model.rope
    if rope.scaling == "linear":
        return [text(f"{name}.rope.scaling.type", "linear"), real(f"{name}.rope.scaling.factor", rope.factor)]
    if rope.scaling != "yarn":
        return []
    assert rope.original_context is not None
    stated = {
        "yarn_attn_factor": rope.attention_factor,
        "yarn_beta_fast": rope.beta_fast,
        "yarn_beta_slow": rope.beta_slow,
    }
    return [
        text(f"{name}.rope.scaling.type", "yarn"),
        real(f"{name}.rope.scaling.factor", rope.factor),
        whole(f"{name}.rope.scaling.original_context_length", rope.original_context),
        *(real(f"{name}.rope.scaling.{key}", value) for key, value in stated.items() if value is not None),
    ]

"""Phi-3, Phi-3.5 and Phi-4-mini (without mixtures of experts): fused q, k, v and fused gate and up, longrope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.tensors import OutputTensor

from .config import Config, plain_head_dim, read_activation, refuse_what_no_graph_has
from .decoder import norm, tables
from .family import Family, TensorPlace, sliding_is_ignored
from .hyper_parameters import FULL, SLIDING, HyperParameters
from .metadata import FILE_TYPE, kv_heads, real, whole
from .rope import longrope_attention_factor
from .rope_settings import read_rope, rope_section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.contracts.tensors import MetadataEntry


def read_phi3(config: Config, class_name: str) -> HyperParameters:
    """Read a `Phi3Config`; its "su" and "yarn" scalings are older names of longrope."""
    refuse_what_no_graph_has(config)
    config.refuse("attention_bias", unless=False, why="llama.cpp's graph for Phi-3 has no biases")
    hidden, heads = config.integer("hidden_size", 3072), config.integer("num_attention_heads", 32)
    head_dim = plain_head_dim(config, hidden, heads, "Phi-3", checked=config.gguf)
    head_dim = config.integer("head_dim", head_dim)
    context = config.integer("max_position_embeddings", 4096)
    original = config.integer("original_max_position_embeddings", 4096)
    section = rope_section(config)
    settings = {**section.values, "original_max_position_embeddings": original}
    if section.text("rope_type", section.text("type", "default")) == "yarn":
        settings["rope_type"] = "longrope"
    rope = read_rope(
        Config(settings, section.where, config.gguf), head_dim, context, theta=10000.0, allowed=("none", "longrope")
    )
    layers, window = config.integer("num_hidden_layers", 32), config.optional_integer("sliding_window")
    return HyperParameters(
        class_name=class_name,
        vocabulary=config.integer("vocab_size", 32064),
        context_length=context,
        hidden=hidden,
        layers=layers,
        feed_forward=config.integer("intermediate_size", 8192),
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", heads),
        head_dim=head_dim,
        norm_epsilon=config.number("rms_norm_eps", 1e-5),
        activation=read_activation(config, "hidden_act", default="silu", wanted="silu"),
        tied=config.flag("tie_word_embeddings", default=False),
        rope=rope,
        layer_kinds=(FULL if window is None else SLIDING,) * layers,
        sliding_window=window,
        attention_scale=head_dim**-0.5,
    )


def _places(model: HyperParameters) -> Mapping[str, TensorPlace]:
    places = tables(model, "model.norm", "output_norm")
    queries = model.heads * model.head_dim
    fused = queries + 2 * model.kv_heads * model.head_dim
    for layer in range(model.layers):
        source, name = f"model.layers.{layer}", f"blk.{layer}"
        places |= {
            f"{source}.input_layernorm.weight": norm(model, f"{name}.attn_norm", model.hidden),
            f"{source}.self_attn.qkv_proj.weight": TensorPlace(f"{name}.attn_qkv.weight", (fused, model.hidden)),
            f"{source}.self_attn.o_proj.weight": TensorPlace(f"{name}.attn_output.weight", (model.hidden, queries)),
            f"{source}.post_attention_layernorm.weight": norm(model, f"{name}.ffn_norm", model.hidden),
            f"{source}.mlp.gate_up_proj.weight": TensorPlace(
                f"{name}.ffn_up.weight", (2 * model.feed_forward, model.hidden)
            ),
            f"{source}.mlp.down_proj.weight": TensorPlace(
                f"{name}.ffn_down.weight", (model.hidden, model.feed_forward)
            ),
        }
    return places


def _early(model: HyperParameters) -> tuple[MetadataEntry, ...]:
    if model.rope.scaling != "longrope":
        return ()
    return (real("phi3.rope.scaling.attn_factor", longrope_attention_factor(model.rope)),)


def _metadata(model: HyperParameters) -> list[MetadataEntry]:
    return [
        whole("phi3.context_length", model.context_length),
        whole("phi3.rope.scaling.original_context_length", model.rope.original_context or model.context_length),
        whole("phi3.embedding_length", model.hidden),
        whole("phi3.feed_forward_length", model.feed_forward),
        whole("phi3.block_count", model.layers),
        whole("phi3.attention.head_count", model.heads),
        kv_heads("phi3", model),
        real("phi3.attention.layer_norm_rms_epsilon", model.norm_epsilon),
        whole("phi3.rope.dimension_count", model.rope.dimensions),
        real("phi3.rope.freq_base", model.rope.theta),
        FILE_TYPE,
        whole("phi3.attention.sliding_window", model.sliding_window or 0),
    ]


def _constants(model: HyperParameters) -> tuple[OutputTensor, ...]:
    if model.rope.scaling != "longrope":
        return ()
    factors = {"long": model.rope.long_factors, "short": model.rope.short_factors}
    return tuple(
        OutputTensor(f"rope_factors_{which}.weight", "", (len(values),), constant=np.array(values, dtype=np.float32))
        for which, values in factors.items()
    )


PHI3 = Family("phi3", read_phi3, _places, _metadata, constants=_constants, early=_early, warnings=sliding_is_ignored)

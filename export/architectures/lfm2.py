"""LFM2 (without mixtures of experts): short gated convolutions with some attention layers in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import Config, plain_head_dim, read_layer_kinds, refuse_what_no_graph_has, unsupported
from .decoder import norm, tables
from .family import Family, TensorPlace
from .hyper_parameters import HyperParameters, LayerKind
from .metadata import sizes, whole
from .rope_settings import read_rope, rope_section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.contracts.tensors import MetadataEntry


def read_lfm2(config: Config, class_name: str) -> HyperParameters:
    """Read an `Lfm2Config`."""
    refuse_what_no_graph_has(config)
    config.refuse("conv_bias", unless=False, why="llama.cpp's graph for LFM2 has no biases")
    hidden, heads = config.integer("hidden_size", 2560), config.integer("num_attention_heads", 32)
    head_dim = plain_head_dim(config, hidden, heads, "LFM2")
    layers = config.integer("num_hidden_layers", 32)
    context = config.integer("max_position_embeddings", 128000)
    attending = config.items("full_attn_idxs")
    default: tuple[LayerKind, ...] = tuple(
        "full" if attending is None or layer in attending else "convolution" for layer in range(layers)
    )
    kinds = read_layer_kinds(config, layers, default)
    if "sliding" in kinds:
        raise unsupported(f"{config.where}: layer_types has sliding attention, which LFM2's text model lacks")
    section = rope_section(config)
    section.refuse("partial_rotary_factor", unless=1, why="llama.cpp's graph rotates whole heads")
    return HyperParameters(
        class_name=class_name,
        vocabulary=config.integer("vocab_size", 65536),
        context_length=context,
        hidden=hidden,
        layers=layers,
        feed_forward=_feed_forward(config),
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", 8),
        head_dim=head_dim,
        stated_head_dim=config.optional_integer("head_dim"),
        norm_epsilon=config.number("norm_eps", 1e-5),
        tied=config.flag("tie_embedding", default=config.flag("tie_word_embeddings", default=True)),
        rope=read_rope(section, head_dim, context, theta=1_000_000.0, allowed=("none",)),
        layer_kinds=kinds,
        attention_scale=head_dim**-0.5,
        query_key_norm=True,
        convolution_length=config.integer("conv_L_cache", 3),
    )


def _feed_forward(config: Config) -> int:
    """Return the effective width: two thirds of the stated one, scaled, rounded up to a multiple (Lfm2MLP)."""
    width = config.integer("block_ff_dim", config.integer("intermediate_size", 12288))
    if not config.flag("block_auto_adjust_ff_dim", default=True):
        return width
    width = int(config.number("block_ffn_dim_multiplier", 1.0) * int(2 * width / 3))
    multiple = config.integer("block_multiple_of", 256)
    return multiple * ((width + multiple - 1) // multiple)


def _places(model: HyperParameters) -> Mapping[str, TensorPlace]:
    assert model.convolution_length is not None
    hidden, wide, keys = model.hidden, model.feed_forward, model.kv_heads * model.head_dim
    places = tables(model, "model.embedding_norm", "token_embd_norm")
    for layer, kind in enumerate(model.layer_kinds):
        source, name = f"model.layers.{layer}", f"blk.{layer}"
        places |= {
            f"{source}.operator_norm.weight": norm(model, f"{name}.attn_norm", hidden),
            f"{source}.ffn_norm.weight": norm(model, f"{name}.ffn_norm", hidden),
            f"{source}.feed_forward.w1.weight": TensorPlace(f"{name}.ffn_gate.weight", (wide, hidden)),
            f"{source}.feed_forward.w2.weight": TensorPlace(f"{name}.ffn_down.weight", (hidden, wide)),
            f"{source}.feed_forward.w3.weight": TensorPlace(f"{name}.ffn_up.weight", (wide, hidden)),
        }
        if kind == "convolution":
            taps = (hidden, 1, model.convolution_length)
            places |= {
                f"{source}.conv.conv.weight": TensorPlace(f"{name}.shortconv.conv.weight", taps),
                f"{source}.conv.in_proj.weight": TensorPlace(f"{name}.shortconv.in_proj.weight", (3 * hidden, hidden)),
                f"{source}.conv.out_proj.weight": TensorPlace(f"{name}.shortconv.out_proj.weight", (hidden, hidden)),
            }
        else:
            places |= {
                f"{source}.self_attn.q_proj.weight": TensorPlace(f"{name}.attn_q.weight", (hidden, hidden)),
                f"{source}.self_attn.k_proj.weight": TensorPlace(f"{name}.attn_k.weight", (keys, hidden)),
                f"{source}.self_attn.v_proj.weight": TensorPlace(f"{name}.attn_v.weight", (keys, hidden)),
                f"{source}.self_attn.out_proj.weight": TensorPlace(f"{name}.attn_output.weight", (hidden, hidden)),
                f"{source}.self_attn.q_layernorm.weight": norm(model, f"{name}.attn_q_norm", model.head_dim),
                f"{source}.self_attn.k_layernorm.weight": norm(model, f"{name}.attn_k_norm", model.head_dim),
            }
    return places


def _metadata(model: HyperParameters) -> list[MetadataEntry]:
    assert model.convolution_length is not None
    return [
        *sizes("lfm2", model),
        whole("lfm2.vocab_size", model.vocabulary),
        whole("lfm2.shortconv.l_cache", model.convolution_length),
    ]


LFM2 = Family("lfm2", read_lfm2, _places, _metadata)

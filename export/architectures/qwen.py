"""Qwen 2 and 2.5 (biases on q, k and v) and Qwen 3 (norms on q and k), dense models."""

from __future__ import annotations

from functools import partial

from .config import Config, plain_head_dim, read_activation, read_layer_kinds, refuse_what_no_graph_has, unsupported
from .decoder import decoder_places
from .family import Family, sliding_is_ignored
from .hyper_parameters import HyperParameters, LayerKind
from .metadata import sizes
from .rope_settings import read_rope, rope_section


def read_qwen2(config: Config, class_name: str) -> HyperParameters:
    """Read a `Qwen2Config`.

    Raises:
        UnsupportedError: heads of another size than hidden / heads, which llama.cpp's graph does not have.

    """
    hidden, heads = config.integer("hidden_size", 4096), config.integer("num_attention_heads", 32)
    head_dim = plain_head_dim(config, hidden, heads, "Qwen2", checked=config.gguf)
    stated = config.optional_integer("head_dim")
    return _read(config, class_name, head_dim=stated or head_dim, stated=stated, qwen3=False)


def read_qwen3(config: Config, class_name: str) -> HyperParameters:
    """Read a `Qwen3Config`."""
    config.refuse_for_gguf(
        "attention_bias", unless=False, why="llama.cpp's converter and graph for Qwen3 have no biases"
    )
    head_dim = config.integer("head_dim", 128)
    return _read(config, class_name, head_dim=head_dim, stated=head_dim, qwen3=True)


def _read(config: Config, class_name: str, *, head_dim: int, stated: int | None, qwen3: bool) -> HyperParameters:
    refuse_what_no_graph_has(config)
    layers = config.integer("num_hidden_layers", 32)
    heads = config.integer("num_attention_heads", 32)
    context = config.integer("max_position_embeddings", 32768)
    window = config.integer("sliding_window", 4096) if config.flag("use_sliding_window", default=False) else None
    first_sliding = config.integer("max_window_layers", 28) if window else layers
    default: tuple[LayerKind, ...] = tuple("sliding" if layer >= first_sliding else "full" for layer in range(layers))
    kinds = read_layer_kinds(config, layers, default)
    if "convolution" in kinds:
        raise unsupported(f"{config.where}: layer_types has convolutions, which llama.cpp's graph for Qwen lacks")
    section = rope_section(config)
    section.refuse("partial_rotary_factor", unless=1, why="llama.cpp's graph rotates whole heads")
    return HyperParameters(
        class_name=class_name,
        vocabulary=config.integer("vocab_size", 151936),
        context_length=context,
        hidden=config.integer("hidden_size", 4096),
        layers=layers,
        feed_forward=config.integer("intermediate_size", 22016),
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", heads if "num_key_value_heads" in config.values else 32),
        head_dim=head_dim,
        stated_head_dim=stated,
        norm_epsilon=config.number("rms_norm_eps", 1e-6),
        activation=read_activation(config, "hidden_act", default="silu", wanted="silu"),
        tied=config.flag("tie_word_embeddings", default=False),
        rope=read_rope(section, head_dim, context, theta=10000.0, allowed=("none", "linear", "yarn")),
        layer_kinds=kinds,
        sliding_window=window if "sliding" in kinds else None,
        attention_scale=head_dim**-0.5,
        attention_bias=not qwen3 or config.flag("attention_bias", default=False),
        output_bias=qwen3 and config.flag("attention_bias", default=False),
        query_key_norm=qwen3,
    )


QWEN2 = Family("qwen2", read_qwen2, decoder_places, partial(sizes, "qwen2"), warnings=sliding_is_ignored)
QWEN3 = Family("qwen3", read_qwen3, decoder_places, partial(sizes, "qwen3"), warnings=sliding_is_ignored)

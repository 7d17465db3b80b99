"""Llama 2, Llama 3, SmolLM and Mistral: GGUF architecture "llama"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.tensors import MetadataEntry, OutputTensor

from .config import Config, read_activation, refuse_what_no_graph_has
from .decoder import decoder_places
from .family import Family, TensorPlace, sliding_is_ignored
from .hyper_parameters import FULL, SLIDING, HyperParameters
from .metadata import sizes, whole
from .rope import llama3_divisors
from .rope_settings import read_rope, rope_section

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_llama(config: Config, class_name: str) -> HyperParameters:
    """Read a `LlamaConfig`."""
    heads = config.integer("num_attention_heads", 32)
    return _read(
        config,
        class_name,
        kv_heads=config.integer("num_key_value_heads", heads),
        feed_forward=11008,
        context_length=2048,
        attention_bias=config.flag("attention_bias", default=False),
        mlp_bias=config.flag("mlp_bias", default=False),
        sliding_window=None,
    )


def read_mistral(config: Config, class_name: str) -> HyperParameters:
    """Read a `MistralConfig`; its window is 4096 if missing, and off if null."""
    heads = config.integer("num_attention_heads", 32)
    stated = "num_key_value_heads" in config.values
    window = config.optional_integer("sliding_window") if "sliding_window" in config.values else 4096
    return _read(
        config,
        class_name,
        kv_heads=config.integer("num_key_value_heads", heads if stated else 8),
        feed_forward=14336,
        context_length=131072,
        attention_bias=False,
        mlp_bias=False,
        sliding_window=window,
    )


def _read(
    config: Config,
    class_name: str,
    *,
    kv_heads: int,
    feed_forward: int,
    context_length: int,
    attention_bias: bool,
    mlp_bias: bool,
    sliding_window: int | None,
) -> HyperParameters:
    refuse_what_no_graph_has(config)
    config.refuse("layer_types", unless=None, why="llama.cpp's graph has one kind of layer")
    hidden, heads = config.integer("hidden_size", 4096), config.integer("num_attention_heads", 32)
    layers = config.integer("num_hidden_layers", 32)
    head_dim = config.integer("head_dim", max(hidden // heads, 1))
    context = config.integer("max_position_embeddings", context_length)
    section = rope_section(config)
    section.refuse("partial_rotary_factor", unless=1, why="llama.cpp's graph rotates whole heads")
    return HyperParameters(
        class_name=class_name,
        vocabulary=config.integer("vocab_size", 32000),
        context_length=context,
        hidden=hidden,
        layers=layers,
        feed_forward=config.integer("intermediate_size", feed_forward),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        stated_head_dim=head_dim,
        norm_epsilon=config.number("rms_norm_eps", 1e-6),
        activation=read_activation(config, "hidden_act", default="silu", wanted="silu"),
        tied=config.flag("tie_word_embeddings", default=False),
        rope=read_rope(section, head_dim, context, theta=10000.0, allowed=("none", "linear", "llama3", "yarn")),
        layer_kinds=(FULL if sliding_window is None else SLIDING,) * layers,
        sliding_window=sliding_window,
        attention_scale=head_dim**-0.5,
        attention_bias=attention_bias,
        output_bias=attention_bias,
        mlp_bias=mlp_bias,
    )


def _places(model: HyperParameters) -> Mapping[str, TensorPlace]:
    return decoder_places(model, interleaved=True)


def _metadata(model: HyperParameters) -> list[MetadataEntry]:
    return [
        *sizes("llama", model),
        whole("llama.vocab_size", model.vocabulary),
        whole("llama.rope.dimension_count", model.rope.dimensions),
    ]


def _constants(model: HyperParameters) -> tuple[OutputTensor, ...]:
    if model.rope.scaling != "llama3":
        return ()
    divisors = np.ascontiguousarray(llama3_divisors(model.rope))
    return (OutputTensor("rope_freqs.weight", "", divisors.shape, constant=divisors),)


LLAMA = Family("llama", read_llama, _places, _metadata, constants=_constants)
MISTRAL = Family("llama", read_mistral, _places, _metadata, constants=_constants, warnings=sliding_is_ignored)

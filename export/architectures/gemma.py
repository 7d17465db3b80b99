"""Gemma 2 and Gemma 3 (text model): norms store w of (1 + w), sliding layers alternate with full ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import Config, read_activation, read_layer_kinds, refuse_what_no_graph_has, unsupported
from .decoder import decoder_places
from .family import Family
from .hyper_parameters import HyperParameters, LayerKind, Rope
from .metadata import FILE_TYPE, head_size, kv_heads, real, sizes, whole
from .rope_settings import read_rope, rope_section

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import MetadataEntry

GEMMA2_THETA = 10000.0
LARGEST_GEMMA2_LAYERS = 46
LARGEST_GEMMA3_LAYERS = 62
GEMMA2_PERIOD = 2
GEMMA3_PERIOD = 6
"""Every second or every sixth layer has full attention, the others slide: fixed in llama.cpp's graphs."""


def read_gemma2(config: Config, class_name: str) -> HyperParameters:
    """Read a `Gemma2Config`."""
    head_dim, context = config.integer("head_dim", 256), config.integer("max_position_embeddings", 8192)
    section = rope_section(config)
    section.refuse_for_gguf("rope_theta", unless=GEMMA2_THETA, why="GGUF files of Gemma 2 cannot store it")
    section.refuse("partial_rotary_factor", unless=1, why="llama.cpp's graph rotates whole heads")
    rope = read_rope(section, head_dim, context, theta=GEMMA2_THETA, allowed=("none",))
    kinds = _kinds(config, GEMMA2_PERIOD)
    if config.gguf and _pattern(len(kinds), GEMMA2_PERIOD) != kinds:
        raise unsupported(f"{config.where}: layer_types do not alternate, as llama.cpp's graph for Gemma 2 does")
    return _read(
        config,
        class_name,
        vocabulary=256000,
        rope=rope,
        local_rope=None,
        kinds=kinds,
        largest=LARGEST_GEMMA2_LAYERS,
        context=context,
        attention_softcap=config.number("attn_logit_softcapping", 50.0),
        logit_softcap=config.number("final_logit_softcapping", 30.0),
    )


def read_gemma3(config: Config, class_name: str) -> HyperParameters:
    """Read a `Gemma3TextConfig`, or the text part of a `Gemma3Config`."""
    if config.has("text_config"):
        config = Config(
            {**config.values, **config.section("text_config").values}, f"{config.where}: text_config", config.gguf
        )
    config.refuse("attn_logit_softcapping", unless=None, why="transformers and llama.cpp apply no cap there in Gemma 3")
    head_dim, context = config.integer("head_dim", 256), config.integer("max_position_embeddings", 131072)
    full, sliding = _gemma3_ropes(config)
    rope = read_rope(full, head_dim, context, theta=1_000_000.0, allowed=("none", "linear"))
    local = read_rope(sliding, head_dim, context, theta=10_000.0, allowed=("none",))
    kinds = _kinds(config, config.integer("sliding_window_pattern", GEMMA3_PERIOD))
    slides = "sliding" in kinds
    if config.gguf and slides and kinds != _pattern(len(kinds), GEMMA3_PERIOD):
        raise unsupported(
            f"{config.where}: not every {GEMMA3_PERIOD}th layer has full attention, as in llama.cpp's graph"
        )
    return _read(
        config,
        class_name,
        vocabulary=262208,
        rope=rope,
        local_rope=local,
        kinds=kinds,
        largest=LARGEST_GEMMA3_LAYERS,
        context=context,
        attention_softcap=None,
        logit_softcap=config.optional_number("final_logit_softcapping"),
    )


def _gemma3_ropes(config: Config) -> tuple[Config, Config]:
    """Return the settings of full and of sliding layers, from either layout."""
    nested = config.section("rope_parameters")
    if nested.values and not {"full_attention", "sliding_attention"} & set(nested.values):
        raise unsupported(f"{nested.where} has no full_attention and sliding_attention, as Gemma 3's should")
    full = {**nested.section("full_attention").values, **config.section("rope_scaling").values}
    sliding = dict(nested.section("sliding_attention").values)
    for settings, key in ((full, "rope_theta"), (sliding, "rope_local_base_freq")):
        if settings.get("rope_theta") is None and config.has(key):
            settings["rope_theta"] = config.values[key]
    sections = tuple(
        Config(values, f"{nested.where}: {kind}", config.gguf)
        for kind, values in (("full_attention", full), ("sliding_attention", sliding))
    )
    for section in sections:
        section.refuse("partial_rotary_factor", unless=1, why="llama.cpp's graph rotates whole heads")
    return sections[0], sections[1]


def _pattern(layers: int, period: int) -> tuple[LayerKind, ...]:
    return tuple("sliding" if (layer + 1) % period else "full" for layer in range(layers))


def _kinds(config: Config, period: int) -> tuple[LayerKind, ...]:
    layers = config.integer("num_hidden_layers", 26)
    return read_layer_kinds(config, layers, _pattern(layers, period))


def _read(
    config: Config,
    class_name: str,
    *,
    vocabulary: int,
    rope: Rope,
    local_rope: Rope | None,
    kinds: tuple[LayerKind, ...],
    largest: int,
    context: int,
    attention_softcap: float | None,
    logit_softcap: float | None,
) -> HyperParameters:
    refuse_what_no_graph_has(config)
    config.refuse("attention_bias", unless=False, why="llama.cpp's graph for Gemma has no biases")
    hidden, heads = config.integer("hidden_size", 2304), config.integer("num_attention_heads", 8)
    head_dim, layers = config.integer("head_dim", 256), len(kinds)
    scalar = config.number("query_pre_attn_scalar", 256)
    # llama.cpp recognizes the 27B models, which scale by hidden / heads, by their number of layers.
    wanted = hidden // heads if layers == largest else head_dim
    if config.gguf and scalar != wanted:
        raise unsupported(
            f"{config.where}: query_pre_attn_scalar is {scalar:g}; for {layers} layers llama.cpp's graph takes {wanted}"
        )
    return HyperParameters(
        class_name=class_name,
        vocabulary=config.integer("vocab_size", vocabulary),
        context_length=context,
        hidden=hidden,
        layers=layers,
        feed_forward=config.integer("intermediate_size", 9216),
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", 4),
        head_dim=head_dim,
        stated_head_dim=head_dim,
        norm_epsilon=config.number("rms_norm_eps", 1e-6),
        activation=read_activation(config, "hidden_activation", default="gelu_pytorch_tanh", wanted="gelu_tanh"),
        tied=config.flag("tie_word_embeddings", default=True),
        rope=rope,
        local_rope=local_rope,
        layer_kinds=kinds,
        sliding_window=config.integer("sliding_window", 4096) if "sliding" in kinds else None,
        attention_scale=scalar**-0.5,
        embedding_scale=hidden**0.5,
        norm_offset=1.0,
        query_key_norm=local_rope is not None,
        post_norms=True,
        attention_softcap=attention_softcap,
        logit_softcap=logit_softcap,
    )


def _gemma2_metadata(model: HyperParameters) -> list[MetadataEntry]:
    assert model.attention_softcap is not None
    assert model.logit_softcap is not None
    assert model.sliding_window is not None
    return [
        whole("gemma2.context_length", model.context_length),
        whole("gemma2.embedding_length", model.hidden),
        whole("gemma2.block_count", model.layers),
        whole("gemma2.feed_forward_length", model.feed_forward),
        whole("gemma2.attention.head_count", model.heads),
        kv_heads("gemma2", model),
        real("gemma2.attention.layer_norm_rms_epsilon", model.norm_epsilon),
        *head_size("gemma2", model.stated_head_dim),
        FILE_TYPE,
        real("gemma2.attn_logit_softcapping", model.attention_softcap),
        real("gemma2.final_logit_softcapping", model.logit_softcap),
        whole("gemma2.attention.sliding_window", model.sliding_window),
    ]


def _gemma3_metadata(model: HyperParameters) -> list[MetadataEntry]:
    cap, window = model.logit_softcap, model.sliding_window
    return [
        *sizes("gemma3", model),
        *([] if cap is None else [real("gemma3.final_logit_softcapping", cap)]),
        *([] if window is None else [whole("gemma3.attention.sliding_window", window)]),
    ]


GEMMA2 = Family("gemma2", read_gemma2, decoder_places, _gemma2_metadata, reads_output=False)
GEMMA3 = Family(
    "gemma3",
    read_gemma3,
    decoder_places,
    _gemma3_metadata,
    prefixes=(("model.language_model.", "model."), ("language_model.", "")),
    foreign=("vision_tower.", "model.vision_tower.", "multi_modal_projector.", "model.multi_modal_projector."),
    cuts_table=True,
)

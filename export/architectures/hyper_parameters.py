"""Hyper-parameters of a decoder, independent of Hugging Face's and GGUF's keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RopeScaling = Literal["none", "linear", "llama3", "yarn", "longrope"]
LayerKind = Literal["full", "sliding", "convolution"]
Activation = Literal["silu", "gelu_tanh"]


FULL: LayerKind = "full"
SLIDING: LayerKind = "sliding"


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding (arXiv 2104.09864) and its scaling for long contexts.

    Attributes:
        theta: base of the wavelengths.
        dimensions: rotated dimensions per head; the first ones of `head_dim`.
        scaling: "linear" (positions divided by `factor`), "llama3" (by frequency), "yarn" (arXiv 2309.00071) or
            "longrope" (a factor for each frequency, arXiv 2402.13753).
        factor: the factor by which the context was extended.
        original_context: context of the original training, in tokens; None if the scaling does not use it.
        low_frequency_factor, high_frequency_factor: llama3: the wavelengths, as fractions of `original_context`,
            between which the scaling is interpolated.
        beta_fast, beta_slow, attention_factor: yarn, as stated in the configuration; None if missing.
        short_factors, long_factors: longrope: [dimensions / 2] each, for texts within and beyond `original_context`.

    """

    theta: float
    dimensions: int
    scaling: RopeScaling = "none"
    factor: float = 1.0
    original_context: int | None = None
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 1.0
    beta_fast: float | None = None
    beta_slow: float | None = None
    attention_factor: float | None = None
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()


@dataclass(frozen=True)
class HyperParameters:
    """A decoder-only transformer with RMS norms and gated feed-forward layers.

    Attributes:
        class_name: the Hugging Face class ("LlamaForCausalLM").
        vocabulary: rows of the embedding table.
        context_length: maximum number of tokens.
        hidden, layers, feed_forward, heads, kv_heads, head_dim: sizes.
        stated_head_dim: `head_dim` if the configuration states it, None if it follows from the other sizes.
        norm_epsilon: epsilon of every RMS norm.
        activation: activation of the feed-forward gate.
        tied: whether the output projection is the embedding table.
        rope: rope of layers with full attention (of all layers if `local_rope` is None).
        local_rope: rope of layers with sliding attention, if they have their own.
        layer_kinds: kind of each layer, [layers].
        sliding_window: tokens that a sliding layer attends to, the current one included; None without sliding layers.
        attention_scale: factor of the queries.
        embedding_scale: factor of the token embeddings.
        norm_offset: offset added to every norm's stored weight.
        attention_bias: whether q, k and v have biases.
        output_bias: whether the projection after attention has a bias.
        mlp_bias: whether the feed-forward projections have biases.
        query_key_norm: whether q and k pass an RMS norm over head_dim before rotation.
        post_norms: whether the outputs of attention and feed-forward pass a norm before the residual addition.
        attention_softcap, logit_softcap: cap·tanh(x / cap) on attention scores and on logits; None without a cap.
        convolution_length: taps of the short convolution in "convolution" layers.

    """

    class_name: str
    vocabulary: int
    context_length: int
    hidden: int
    layers: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_epsilon: float
    tied: bool
    rope: Rope
    layer_kinds: tuple[LayerKind, ...]
    attention_scale: float
    activation: Activation = "silu"
    stated_head_dim: int | None = None
    local_rope: Rope | None = None
    sliding_window: int | None = None
    embedding_scale: float = 1.0
    norm_offset: float = 0.0
    attention_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    query_key_norm: bool = False
    post_norms: bool = False
    attention_softcap: float | None = None
    logit_softcap: float | None = None
    convolution_length: int | None = None

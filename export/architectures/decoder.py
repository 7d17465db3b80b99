"""Tensor places of a Llama-like decoder, with the biases and norms of related families."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.tensors import identity

from .family import TensorPlace
from .rope import interleave_rows, interleave_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeproof.contracts.tensors import Float32Array

    from .hyper_parameters import HyperParameters


def decoder_places(model: HyperParameters, *, interleaved: bool = False) -> dict[str, TensorPlace]:
    """Return the places of all tensors of a Llama-like decoder.

    `interleaved`: llama.cpp's graph rotates neighbouring dimensions, so rows of q and k are permuted within each head.
    """
    places = tables(model, "model.norm", "output_norm")
    for layer in range(model.layers):
        for source, place in _layer(model, interleaved=interleaved).items():
            places[f"model.layers.{layer}.{source}"] = place._replace(name=f"blk.{layer}.{place.name}")
    return places


def tables(model: HyperParameters, final_norm: str, final_norm_name: str) -> dict[str, TensorPlace]:
    """Return the places of the embedding table, the final norm and the output projection."""
    table = (model.vocabulary, model.hidden)
    return {
        "model.embed_tokens.weight": TensorPlace("token_embd.weight", table),
        f"{final_norm}.weight": norm(model, final_norm_name, model.hidden),
        "lm_head.weight": TensorPlace("output.weight", table, required=not model.tied),
    }


def norm(model: HyperParameters, name: str, size: int) -> TensorPlace:
    """Return the place of a norm; the family's offset is added."""
    return TensorPlace(f"{name}.weight", (size,), shift(model.norm_offset))


def shift(offset: float) -> Callable[[Float32Array], Float32Array]:
    """Return the transform that adds `offset`, in float32 (llama.cpp's converter uses float16 where that is stored)."""
    return partial(_add, offset=np.float32(offset)) if offset else identity


def _add(rows: Float32Array, *, offset: np.float32) -> Float32Array:
    return rows + offset


def _layer(model: HyperParameters, *, interleaved: bool) -> dict[str, TensorPlace]:
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    hidden, wide = model.hidden, model.feed_forward
    rows, group = (interleave_rows(model.head_dim), model.head_dim) if interleaved else (identity, 1)
    values = interleave_values(model.head_dim) if interleaved else identity
    places = {
        "input_layernorm.weight": norm(model, "attn_norm", hidden),
        "self_attn.q_proj.weight": TensorPlace("attn_q.weight", (queries, hidden), rows, group),
        "self_attn.k_proj.weight": TensorPlace("attn_k.weight", (keys, hidden), rows, group),
        "self_attn.v_proj.weight": TensorPlace("attn_v.weight", (keys, hidden)),
        "self_attn.o_proj.weight": TensorPlace("attn_output.weight", (hidden, queries)),
        "mlp.gate_proj.weight": TensorPlace("ffn_gate.weight", (wide, hidden)),
        "mlp.up_proj.weight": TensorPlace("ffn_up.weight", (wide, hidden)),
        "mlp.down_proj.weight": TensorPlace("ffn_down.weight", (hidden, wide)),
    }
    if model.attention_bias:
        places["self_attn.q_proj.bias"] = TensorPlace("attn_q.bias", (queries,), values)
        places["self_attn.k_proj.bias"] = TensorPlace("attn_k.bias", (keys,), values)
        places["self_attn.v_proj.bias"] = TensorPlace("attn_v.bias", (keys,))
    if model.output_bias:
        places["self_attn.o_proj.bias"] = TensorPlace("attn_output.bias", (hidden,))
    if model.mlp_bias:
        places["mlp.gate_proj.bias"] = TensorPlace("ffn_gate.bias", (wide,))
        places["mlp.up_proj.bias"] = TensorPlace("ffn_up.bias", (wide,))
        places["mlp.down_proj.bias"] = TensorPlace("ffn_down.bias", (hidden,))
    if model.query_key_norm:
        places["self_attn.q_norm.weight"] = norm(model, "attn_q_norm", model.head_dim)
        places["self_attn.k_norm.weight"] = norm(model, "attn_k_norm", model.head_dim)
    if model.post_norms:
        places["post_attention_layernorm.weight"] = norm(model, "post_attention_norm", hidden)
        places["pre_feedforward_layernorm.weight"] = norm(model, "ffn_norm", hidden)
        places["post_feedforward_layernorm.weight"] = norm(model, "post_ffw_norm", hidden)
    else:
        places["post_attention_layernorm.weight"] = norm(model, "ffn_norm", hidden)
    return places

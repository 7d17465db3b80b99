"""Hugging Face configuration (config.json) from a GGUF file's metadata.

llama.cpp names the graph, not the class: Mistral's files say "llama" and become Llama configurations. Unread keys are
refused, since each may change the computation. Numbers are float32 in the file; each becomes the shortest decimal with
the same float32 bits, as config.json had it (1e-05).
Keys: gguf's constants (Keys) and llama.cpp's `load_arch_hparams` of each architecture.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import CheckpointError, UnsupportedError
from edgeproof.export.architectures.gemma import GEMMA3_PERIOD, LARGEST_GEMMA2_LAYERS, LARGEST_GEMMA3_LAYERS
from edgeproof.export.architectures.hyper_parameters import Rope
from edgeproof.export.architectures.rope import llama3_divisors, longrope_attention_factor
from edgeproof.export.base.gguf_values import WAY_ROUND, GgufValues, shortest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.base.gguf_file import GgufBase

    Json = dict[str, object]

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
SAME = 1e-4
"""Tolerance between stated and derived factors, for rounding."""
LLAMA3_HIGH = (4.0, 2.0, 8.0, 16.0, 32.0)
LLAMA3_CONTEXTS = tuple(2**power for power in (13, 12, 14, 11, 15, *range(3, 11), *range(16, 23)))
"""Candidate settings of llama3's scaling: a file holds only the resulting divisors."""


def gguf_config(base: GgufBase) -> dict[str, object]:
    """Return config.json's content for the model in `base`, in a layout that transformers 4 and 5 both read.

    `vocab_size` is the number of rows in the file; for Gemma 3 these are cut to the tokenizer's (262,144 of 262,208).
    Mistral's sliding window is not in the file: like llama.cpp's graph, the configuration has full attention.

    Raises:
        UnsupportedError: another architecture; or a key or setting that these classes cannot express.
        CheckpointError: a key is missing or of another type.

    """
    if base.architecture not in _FAMILIES:
        raise UnsupportedError(
            f"{base.path} is of the architecture {base.architecture!r}; as a Hugging Face checkpoint edgeproof can "
            f"present {', '.join(_FAMILIES)}",
            next_step=WAY_ROUND,
        )
    values = GgufValues(base)
    values.only("expert_count", (0,), "mixtures of experts are not supported")
    values.only("expert_used_count", (0,), "mixtures of experts are not supported")
    values.only("attention.causal", (True,), "only causal models generate text")
    table = base.tensors.get("token_embd.weight")
    if table is None:
        raise CheckpointError(f"{base.path} has no token_embd.weight", next_step="give the GGUF of a whole model")
    hidden, heads = values.integer("embedding_length"), values.integer("attention.head_count")
    if hidden % heads:
        raise CheckpointError(f"{base.path}: {heads} attention heads for {hidden} values", next_step="convert it again")
    layers = values.integer("block_count")
    if layers > len(base.tensors):
        raise CheckpointError(
            f"{base.path}: {len(base.tensors)} tensors cannot be {layers:,} layers", next_step="convert the model again"
        )
    values.only("vocab_size", (table.shape[0],), f"token_embd.weight has {table.shape[0]:,} rows")
    common: Json = {
        "vocab_size": table.shape[0],
        "hidden_size": hidden,
        "intermediate_size": values.integer("feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": values.integer("attention.head_count_kv", heads),
        "max_position_embeddings": values.integer("context_length"),
        "rms_norm_eps": values.number("attention.layer_norm_rms_epsilon"),
        "tie_word_embeddings": "output.weight" not in base.tensors,
        "torch_dtype": DTYPES.get(
            max(base.tensors.values(), key=lambda info: info.rows * info.columns).dtype, "float32"
        ),
        **_special_ids(base),
    }
    config = {**common, **_FAMILIES[base.architecture](values, common, base)}
    values.refuse_unread()
    return config


def _special_ids(base: GgufBase) -> Json:
    stored = {entry.key: entry.value for entry in base.metadata}
    names = {"bos": "bos", "eos": "eos", "pad": "padding"}
    return {f"{role}_token_id": stored.get(f"tokenizer.ggml.{name}_token_id") for role, name in names.items()}


def _head_dim(values: GgufValues, common: Json) -> int:
    """Return the length of keys and values, which must be equal and fully rotated."""
    hidden, heads = common["hidden_size"], common["num_attention_heads"]
    assert isinstance(hidden, int)
    assert isinstance(heads, int)
    head_dim = values.integer("attention.key_length", hidden // heads)
    values.only("attention.value_length", (head_dim,), f"keys have {head_dim} values a head")
    return head_dim


def _whole_head_dim(values: GgufValues, common: Json) -> int:
    head_dim = _head_dim(values, common)
    values.only("rope.dimension_count", (head_dim,), f"these classes rotate all {head_dim} dimensions of a head")
    return head_dim


def _rope(values: GgufValues, *, theta: float = 10000.0) -> Json:
    """Return rope_theta and rope_scaling from the keys: none, linear, yarn."""
    kind = values.text("rope.scaling.type", "none")
    settings: Json = {"rope_theta": values.number("rope.freq_base", theta), "rope_scaling": None}
    values.only("rope.scaling.finetuned", (True, False), "it is true or false")
    if kind == "none":
        values.only("rope.scaling.factor", (1.0, 0.0), "no scaling is named")
    elif kind == "linear":
        settings["rope_scaling"] = {"rope_type": "linear", "factor": values.number("rope.scaling.factor")}
    elif kind == "yarn":
        stated = {
            "attention_factor": values.optional_number("rope.scaling.yarn_attn_factor"),
            "beta_fast": values.optional_number("rope.scaling.yarn_beta_fast"),
            "beta_slow": values.optional_number("rope.scaling.yarn_beta_slow"),
        }
        settings["rope_scaling"] = {
            "rope_type": "yarn",
            "factor": values.number("rope.scaling.factor"),
            "original_max_position_embeddings": values.integer("rope.scaling.original_context_length"),
            **{key: value for key, value in stated.items() if value is not None},
        }
    else:
        raise UnsupportedError(
            f"{values.path}: {values.architecture}.rope.scaling.type is {kind!r}; supported: none, linear, yarn",
            next_step=WAY_ROUND,
        )
    return settings


def _llama(values: GgufValues, common: Json, base: GgufBase) -> Json:
    head_dim = _whole_head_dim(values, common)
    rope = _rope(values)
    if "rope_freqs.weight" in base.tensors:
        if rope["rope_scaling"] is not None:
            raise UnsupportedError(f"{base.path} has rope_freqs.weight and rope.scaling.type", next_step=WAY_ROUND)
        divisors = base.rows("rope_freqs.weight", 0, 1)[0]
        theta = rope["rope_theta"]
        assert isinstance(theta, float)
        rope["rope_scaling"] = _llama3_scaling(base, divisors, theta, head_dim)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "head_dim": head_dim,
        "attention_bias": "blk.0.attn_q.bias" in base.tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in base.tensors,
        **rope,
    }


def _llama3_scaling(base: GgufBase, divisors: Float32Array, theta: float, head_dim: int) -> Json | None:
    """Find the settings whose divisors equal the file's, bit for bit (low_freq_factor 1: only ratios matter)."""
    if (divisors == 1).all():
        return None
    factor = float(divisors.max())
    plausible = bool((divisors >= 1).all()) and theta > 1 and 2 * len(divisors) == head_dim
    for high in LLAMA3_HIGH if plausible else ():
        for context in LLAMA3_CONTEXTS:
            rope = Rope(
                theta,
                head_dim,
                "llama3",
                factor,
                context,
                low_frequency_factor=1.0,
                high_frequency_factor=high,
            )
            if np.array_equal(llama3_divisors(rope), divisors):
                return {
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": high,
                    "original_max_position_embeddings": context,
                }
    raise UnsupportedError(
        f"{base.path}: the {len(divisors)} divisors in rope_freqs.weight (up to {factor:g}) match no known llama3 "
        "scaling (an original context of a power of two, high_freq_factor "
        f"{', '.join(f'{high:g}' for high in LLAMA3_HIGH)})",
        next_step=WAY_ROUND,
    )


def _qwen2(values: GgufValues, common: Json, _base: GgufBase) -> Json:
    _whole_head_dim(values, common)  # the class derives it from the hidden size, as llama.cpp's graph does
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_act": "silu",
        "use_sliding_window": False,
        **_rope(values),
    }


def _qwen3(values: GgufValues, common: Json, _base: GgufBase) -> Json:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_act": "silu",
        "head_dim": _whole_head_dim(values, common),
        "attention_bias": False,
        "use_sliding_window": False,
        **_rope(values),
    }


def _query_scalar(common: Json, head_dim: int, largest: int) -> int:
    """Return llama.cpp's query scale: its graph recognizes the 27B models by their number of layers."""
    hidden, heads = common["hidden_size"], common["num_attention_heads"]
    assert isinstance(hidden, int)
    assert isinstance(heads, int)
    return hidden // heads if common["num_hidden_layers"] == largest else head_dim


def _gemma2(values: GgufValues, common: Json, _base: GgufBase) -> Json:
    head_dim = _whole_head_dim(values, common)
    values.only("rope.freq_base", (10000.0,), "llama.cpp's and transformers' Gemma 2 have 10,000")
    return {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "hidden_activation": "gelu_pytorch_tanh",
        "head_dim": head_dim,
        "query_pre_attn_scalar": _query_scalar(common, head_dim, LARGEST_GEMMA2_LAYERS),
        "sliding_window": values.integer("attention.sliding_window", 4096),
        "attn_logit_softcapping": values.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": values.number("final_logit_softcapping", 30.0),
        "attention_bias": False,
        "rope_theta": 10000.0,
    }


def _gemma3(values: GgufValues, common: Json, _base: GgufBase) -> Json:
    head_dim = _whole_head_dim(values, common)
    layers, slides = values.integer("block_count"), values.has("attention.sliding_window")
    kinds = [
        "sliding_attention" if slides and (layer + 1) % GEMMA3_PERIOD else "full_attention" for layer in range(layers)
    ]
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "head_dim": head_dim,
        "query_pre_attn_scalar": _query_scalar(common, head_dim, LARGEST_GEMMA3_LAYERS),
        "attn_logit_softcapping": None,
        "final_logit_softcapping": values.optional_number("final_logit_softcapping"),
        "attention_bias": False,
        "layer_types": kinds,
        "sliding_window": values.integer("attention.sliding_window", 4096),
        **_rope(values, theta=1_000_000.0),
        "rope_local_base_freq": values.number("rope.freq_base_swa", 10000.0),
    }


def _phi3(values: GgufValues, common: Json, base: GgufBase) -> Json:
    head_dim = _head_dim(values, common)
    rotated = values.integer("rope.dimension_count", head_dim)
    context = values.integer("context_length")
    original = values.integer("rope.scaling.original_context_length", context, least=2)
    config: Json = {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "hidden_act": "silu",
        "original_max_position_embeddings": original,
        **({} if rotated == head_dim else {"partial_rotary_factor": rotated / head_dim}),
        "sliding_window": values.integer("attention.sliding_window", 0, least=0) or None,
        "rope_theta": values.number("rope.freq_base", 10000.0),
        "rope_scaling": None,
    }
    factors = {f"rope_factors_{which}.weight" for which in ("long", "short")} & base.tensors.keys()
    if len(factors) == 1:
        raise CheckpointError(f"{base.path} has {factors.pop()} alone", next_step="convert the model again")
    if factors:
        long, short = (
            [shortest(value) for value in base.rows(f"rope_factors_{which}.weight", 0, 1)[0]]
            for which in ("long", "short")
        )
        config["rope_scaling"] = {"rope_type": "longrope", "short_factor": short, "long_factor": long}
        rope = Rope(10000.0, rotated, "longrope", max(context / original, 1.0), original)
        derived = longrope_attention_factor(rope)
        stated = values.number("rope.scaling.attn_factor", derived)
        if abs(stated - derived) > SAME:
            raise UnsupportedError(
                f"{base.path}: phi3.rope.scaling.attn_factor is {stated}; longrope's formula gives {derived:.6f}",
                next_step=WAY_ROUND,
            )
    return config


_FAMILIES: Mapping[str, Callable[[GgufValues, Json, GgufBase], Json]] = MappingProxyType(
    {"llama": _llama, "qwen2": _qwen2, "qwen3": _qwen3, "gemma2": _gemma2, "gemma3": _gemma3, "phi3": _phi3}
)

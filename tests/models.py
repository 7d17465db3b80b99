"""Tiny random models of every family, real in all but size: 2 to 6 layers, hidden 256 (so that K-quants apply).

    folder = save_model("qwen3", tmp_path / "model")            # config.json, model.safetensors, a tiny tokenizer
    model = random_model(tiny_config("gemma2", sliding_window=16))

Needs torch and transformers, and imports them where they are used.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VOCABULARY = 384
CONTEXT = 512
END, PAD = "<|end|>", "<|pad|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": None,
    "eos_token_id": VOCABULARY - 1,
    "pad_token_id": VOCABULARY - 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 128}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}

# Variants by name: the class of the configuration, and what differs from SIZES.
FAMILIES: Mapping[str, tuple[str, dict[str, Any]]] = MappingProxyType(
    {
        "llama": ("LlamaConfig", {"tie_word_embeddings": True, "rope_parameters": {"rope_theta": 100000.0}}),
        "llama2": ("LlamaConfig", {"num_key_value_heads": 4, "rms_norm_eps": 1e-5}),
        "llama3": ("LlamaConfig", {"rope_parameters": LLAMA3, "tie_word_embeddings": True, "head_dim": 128}),
        "llama-biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
        "llama-linear": ("LlamaConfig", {"rope_parameters": LINEAR}),
        "llama-yarn": ("LlamaConfig", {"rope_parameters": YARN}),
        "mistral": ("MistralConfig", {"sliding_window": None, "rope_parameters": {"rope_theta": 1000000.0}}),
        "mistral-head-dim": ("MistralConfig", {"sliding_window": None, "head_dim": 32, "num_key_value_heads": 1}),
        "qwen2": ("Qwen2Config", {"tie_word_embeddings": True, "rope_parameters": {"rope_theta": 1000000.0}}),
        "qwen2-yarn": ("Qwen2Config", {"rope_parameters": YARN}),
        "qwen3": ("Qwen3Config", {"tie_word_embeddings": True, "rope_parameters": {"rope_theta": 1000000.0}}),
        "qwen3-untied": ("Qwen3Config", {"head_dim": 64, "rms_norm_eps": 1e-5}),
        "gemma2": (
            "Gemma2Config",
            {"head_dim": 128, "query_pre_attn_scalar": 128, "num_hidden_layers": 4, "sliding_window": 24},
        ),
        "gemma3": (
            "Gemma3TextConfig",
            {"head_dim": 128, "query_pre_attn_scalar": 128, "num_hidden_layers": 6, "sliding_window": 24},
        ),
        "gemma3-linear": (
            "Gemma3TextConfig",
            {
                "head_dim": 128,
                "query_pre_attn_scalar": 128,
                "num_hidden_layers": 7,
                "sliding_window": 24,
                "final_logit_softcapping": 20.0,
                "rope_parameters": {
                    "full_attention": {**LINEAR, "rope_theta": 1000000.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                },
            },
        ),
        "gemma3-vision": (
            "Gemma3Config",
            {
                "text_config": {
                    **SIZES,
                    "head_dim": 64,
                    "query_pre_attn_scalar": 64,
                    "num_hidden_layers": 6,
                    "sliding_window": 24,
                    "rope_parameters": {"full_attention": {**LINEAR, "factor": 8.0}, "sliding_attention": None},
                },
                "vision_config": {
                    "hidden_size": 32,
                    "intermediate_size": 32,
                    "num_hidden_layers": 1,
                    "num_attention_heads": 2,
                    "image_size": 28,
                    "patch_size": 14,
                },
                "mm_tokens_per_image": 4,
                "image_token_index": VOCABULARY - 3,
            },
        ),
        "phi3": ("Phi3Config", {"original_max_position_embeddings": CONTEXT}),
        "phi3-longrope": (
            "Phi3Config",
            {
                "tie_word_embeddings": True,
                "original_max_position_embeddings": 256,
                "rope_parameters": {
                    "rope_type": "longrope",
                    "rope_theta": 10000.0,
                    "partial_rotary_factor": 0.75,
                    "short_factor": [1.0 + 0.01 * i for i in range(24)],
                    "long_factor": [1.0 + 0.5 * i for i in range(24)],
                    "original_max_position_embeddings": 256,
                },
            },
        ),
        "lfm2": (
            "Lfm2Config",
            {
                "num_hidden_layers": 4,
                "layer_types": ["conv", "conv", "full_attention", "conv"],
                "block_auto_adjust_ff_dim": True,
                "block_multiple_of": 256,
                "intermediate_size": 768,
            },
        ),
    }
)
CLASSES = MappingProxyType(
    {
        "LlamaConfig": "LlamaForCausalLM",
        "MistralConfig": "MistralForCausalLM",
        "Qwen2Config": "Qwen2ForCausalLM",
        "Qwen3Config": "Qwen3ForCausalLM",
        "Gemma2Config": "Gemma2ForCausalLM",
        "Gemma3TextConfig": "Gemma3ForCausalLM",
        "Gemma3Config": "Gemma3ForConditionalGeneration",
        "Phi3Config": "Phi3ForCausalLM",
        "Lfm2Config": "Lfm2ForCausalLM",
    }
)


def tiny_config(family: str, **changes: Any) -> Any:
    """Return the transformers configuration of a variant, with `changes`."""
    import transformers

    kind, differences = FAMILIES[family]
    # A deep copy: transformers writes into the dictionaries that it is given.
    sizes = {} if "text_config" in differences else SIZES
    values = json.loads(json.dumps({**sizes, **differences, **changes}))
    config = getattr(transformers, kind)(**values)
    config.architectures = [CLASSES[kind]]
    return config


def random_model(config: Any, *, seed: int = 0) -> Any:
    """Return a float32 model whose every weight is random: norms around their neutral value, biases not 0."""
    import torch
    import transformers

    generator = torch.Generator().manual_seed(seed)
    model = getattr(transformers, config.architectures[0])(config).float().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() > 1:
                scale = 1.0 if "embed" in name else 1.5 / weight.shape[-1] ** 0.5
                weight.copy_(noise * scale)
            elif name.endswith("bias"):
                weight.copy_(noise * 0.2)
            else:
                weight.add_(noise * 0.2)
    return model


def save_model(
    family: str, folder: Path, *, seed: int = 0, dtype: str = "float32", shard_size: str = "5GB", **changes: Any
) -> Path:
    """Write a variant as a Hugging Face folder with a tiny tokenizer; `dtype` is that of the stored weights."""
    import torch

    model = random_model(tiny_config(family, **changes), seed=seed)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=shard_size)
    save_tokenizer(folder, vocabulary=model.config.get_text_config().vocab_size)
    return folder


def write_older_layout(folder: Path) -> None:
    """Rewrite `config.json` as transformers 4 wrote it, without the keys that have their class's default value."""
    path = folder / "config.json"
    path.write_text(json.dumps(_older(json.loads(path.read_text())), indent=1))


def _older(config: dict[str, Any]) -> dict[str, Any]:
    from transformers import AutoConfig

    older = dict(config)
    if "text_config" in config:
        older["text_config"] = _older(config["text_config"])
        return older
    rope = older.pop("rope_parameters")
    if "full_attention" in rope:
        older["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    older["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        older["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    kind = rope.pop("rope_type")
    key = "rope_type" if config["model_type"] == "gemma3_text" else "type"
    older["rope_scaling"] = None if kind == "default" else {key: kind, **rope}
    kinds = older.pop("layer_types", [])
    if config["model_type"] == "gemma3_text":
        older["sliding_window_pattern"] = older.pop("_sliding_window_pattern")
    if config["model_type"] == "lfm2":
        older["full_attn_idxs"] = [layer for layer, name in enumerate(kinds) if name == "full_attention"]
        older["block_ff_dim"] = older.pop("intermediate_size")
        older["tie_embedding"] = older.pop("tie_word_embeddings")
    if "dtype" in older:
        older["torch_dtype"] = older.pop("dtype")
    default = AutoConfig.for_model(config["model_type"]).to_dict()
    kept = {"architectures", "model_type", "torch_dtype", "rope_theta", "rope_scaling", "head_dim"}
    return {key: value for key, value in older.items() if key in kept or default.get(key, "") != value}


def save_tokenizer(folder: Path, *, vocabulary: int = VOCABULARY) -> None:
    """Write a byte-level BPE tokenizer (GPT-2's) of exactly `vocabulary` tokens, with a chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [("Ġ", "t"), ("h", "e"), ("i", "n"), ("Ġt", "he"), ("Ġ", "a"), ("o", "n"), ("Ġ", "i"), ("Ġi", "s")]
    tokens = [*alphabet, *(left + right for left, right in pairs)]
    specials = [PAD, END]
    tokens += [f"<unused{index}>" for index in range(vocabulary - len(tokens) - len(specials))]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)

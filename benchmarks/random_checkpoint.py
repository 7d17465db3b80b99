"""Random bfloat16 Llamas of the sizes of Qwen2.5, and a random LoRA for any Llama-like base.

The tokenizer is copied from a real folder; where it has fewer tokens than the embedding has rows, both converters pad.
A Llama, since transformers takes a tokenizer of its own for Qwen, which llama.cpp's converter then does not know.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
LINEAR = {"self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp": ("gate_proj", "up_proj", "down_proj")}
SLAB = 2**24


class Shape(NamedTuple):
    """The sizes of a model with tied embeddings."""

    hidden: int
    ffn: int
    layers: int
    heads: int
    heads_kv: int
    vocabulary: int = 151936


SHAPES = {
    "llama-0.5b": Shape(896, 4864, 24, 14, 2),
    "llama-1.5b": Shape(1536, 8960, 28, 12, 2),
    "llama-3b": Shape(2048, 11008, 36, 16, 2),
    "llama-7b": Shape(3584, 18944, 28, 28, 4),
}


def make_checkpoint(shape: Shape, tokenizer: Path, folder: Path) -> None:
    """Write a Hugging Face folder of `shape` with random weights, std 0.03."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads_kv,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copy(tokenizer / name, folder / name)
    random = np.random.default_rng(0)
    with (folder / "model.safetensors").open("wb") as file:
        sizes = dict(_tensors(shape))
        file.write(_header(sizes, "BF16", 2))
        for dimensions in sizes.values():
            left = math.prod(dimensions)
            mean = 1.0 if len(dimensions) == 1 else 0.0
            while left:
                values = random.standard_normal(min(left, SLAB), dtype=np.float32) * np.float32(0.03) + np.float32(mean)
                file.write((values.view(np.uint32) >> np.uint32(16)).astype("<u2").tobytes())
                left -= len(values)


def make_adapter(base: Path, folder: Path, *, rank: int = 8) -> None:
    """Write a PEFT folder: LoRA of `rank` on all linear layers of `base`, float32, no zeros."""
    folder.mkdir(parents=True)
    config = json.loads((base / "config.json").read_text())
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    sizes = {
        "q_proj": (queries, hidden),
        "k_proj": (keys, hidden),
        "v_proj": (keys, hidden),
        "o_proj": (hidden, queries),
    }
    sizes |= {"gate_proj": (ffn, hidden), "up_proj": (ffn, hidden), "down_proj": (hidden, ffn)}
    tensors = {}
    random = np.random.default_rng(1)
    for layer in range(config["num_hidden_layers"]):
        for block, names in LINEAR.items():
            for name in names:
                rows, columns = sizes[name]
                stem = f"base_model.model.model.layers.{layer}.{block}.{name}"
                tensors[f"{stem}.lora_A.weight"] = random.standard_normal((rank, columns), dtype=np.float32) * 0.02
                tensors[f"{stem}.lora_B.weight"] = random.standard_normal((rows, rank), dtype=np.float32) * 0.02
    with (folder / "adapter_model.safetensors").open("wb") as file:
        file.write(_header({name: values.shape for name, values in tensors.items()}, "F32", 4))
        for values in tensors.values():
            file.write(values.astype("<f4").tobytes())
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": [name for names in LINEAR.values() for name in names],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2))


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, ffn = shape.hidden, shape.ffn
    keys = hidden // shape.heads * shape.heads_kv
    yield "model.embed_tokens.weight", (shape.vocabulary, hidden)
    for layer in range(shape.layers):
        stem = f"model.layers.{layer}."
        yield stem + "input_layernorm.weight", (hidden,)
        for name, rows in (("q_proj", hidden), ("k_proj", keys), ("v_proj", keys)):
            yield f"{stem}self_attn.{name}.weight", (rows, hidden)
        yield stem + "self_attn.o_proj.weight", (hidden, hidden)
        yield stem + "post_attention_layernorm.weight", (hidden,)
        yield stem + "mlp.gate_proj.weight", (ffn, hidden)
        yield stem + "mlp.up_proj.weight", (ffn, hidden)
        yield stem + "mlp.down_proj.weight", (hidden, ffn)
    yield "model.norm.weight", (hidden,)


def _header(sizes: dict[str, tuple[int, ...]], dtype: str, width: int) -> bytes:
    entries, offset = {}, 0
    for name, dimensions in sizes.items():
        end = offset + width * math.prod(dimensions)
        entries[name] = {"dtype": dtype, "shape": list(dimensions), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text

"""A tiny random Llama as a GGUF, written with the gguf package alone: 2 layers, hidden 256, byte-level vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np
from edgeproof_tests.smollm2 import quantized

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LAYERS, HIDDEN, HEADS, KV_HEADS, INNER, CONTEXT = 2, 256, 4, 2, 512, 2048
HEAD = HIDDEN // HEADS
BOS, EOS = "<|begin|>", "<|end|>"
MERGES = ("t h", "th e", "Ġ the", "i n")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
)


def byte_tokens() -> list[str]:
    """The 256 characters by which GPT-2's tokenizer stands for bytes."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(spare)) for byte in range(256)]


def vocabulary() -> list[str]:
    """Bytes, merged pieces, special tokens."""
    return [*byte_tokens(), *("".join(merge.split()) for merge in MERGES), BOS, EOS]


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Random float32 tensors by GGUF name, in numpy's order of dimensions; large enough that predictions differ."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.08).astype(np.float32)

    tensors = {"token_embd.weight": normal(len(vocabulary()), HIDDEN) * 4}
    for layer in range(LAYERS):
        shapes = {
            "attn_q": (HIDDEN, HIDDEN),
            "attn_k": (KV_HEADS * HEAD, HIDDEN),
            "attn_v": (KV_HEADS * HEAD, HIDDEN),
            "attn_output": (HIDDEN, HIDDEN),
            "ffn_gate": (INNER, HIDDEN),
            "ffn_up": (INNER, HIDDEN),
            "ffn_down": (HIDDEN, INNER),
        }
        tensors |= {f"blk.{layer}.{name}.weight": normal(*shape) for name, shape in shapes.items()}
        tensors |= {f"blk.{layer}.{name}_norm.weight": np.ones(HIDDEN, np.float32) for name in ("attn", "ffn")}
    tensors["output_norm.weight"] = np.ones(HIDDEN, np.float32)
    return tensors


def write(
    path: Path,
    tensors: Mapping[str, np.ndarray] | None = None,
    *,
    architecture: str = "llama",
    tokens: list[str] | None = None,
    merges: tuple[str, ...] = MERGES,
    add_bos: bool = True,
    template: str | None = TEMPLATE,
    context: int = CONTEXT,
) -> Path:
    """Write the model as float32."""
    tokens = vocabulary() if tokens is None else tokens
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(context)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    control = {BOS, EOS}
    writer.add_token_types([gguf.TokenType.CONTROL if token in control else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges(list(merges))
    writer.add_bos_token_id(tokens.index(BOS))
    writer.add_eos_token_id(tokens.index(EOS))
    writer.add_add_bos_token(add_bos)
    if template is not None:
        writer.add_chat_template(template)
    for name, tensor in (weights() if tensors is None else tensors).items():
        writer.add_tensor(name, tensor)
    return _finished(writer, path)


def write_lora(path: Path, factors: Mapping[str, tuple[np.ndarray, np.ndarray]], alpha: float) -> Path:
    """Write a LoRA adapter: (A [rank, in], B [out, rank]) by the name of the weight."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, (a, b) in factors.items():
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    return _finished(writer, path)


def write_as(path: Path, file_type: str, tensors: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write the model in a quantized type, by llama.cpp's own quantizer."""
    return quantized(write(path.with_suffix(".f32.gguf"), tensors), path, file_type)


def _finished(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

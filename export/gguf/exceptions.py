"""Tensors that llama.cpp keeps in float: the exceptions of `llama-quantize` and of its converter.

tests/export/gguf/test_types.py compares them with the library. Source: llama.cpp, `src/llama-quant.cpp` and
`conversion/base.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gguf import GGMLQuantizationType as T

if TYPE_CHECKING:
    from collections.abc import Sequence

# Matrices too small or too sensitive to quantize.
_KEPT_NAMES = frozenset({"position_embd.weight", "token_types.weight"})
_KEPT_PARTS = [
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
]
_KEPT_PARTS_OF_ARCHITECTURE = {
    "glm5-next": [
        "hc_",
        "indexer.attn_q_b",
        "indexer.attn_k",
        "indexer.proj",
        "indexer_compressor_gate",
        "indexer_compressor_ape",
        "ssm_f_a.weight",
        "ssm_f_b.weight",
        "ssm_g_a.weight",
        "ssm_g_b.weight",
        "ssm_beta.weight",
        "attn_kv_a_mqa.weight",
        "attn_k_b.weight",
        "attn_v_b.weight",
    ],
}
# Matrices that llama.cpp's converter always writes in float32; name parts between "blk.N." and ".weight".
_ALWAYS_FLOAT32 = frozenset(
    [
        "ffn_gate_inp",
        "ffn_gate_inp_shexp",
        "position_embd",
        "token_types",
        "ssm_conv1d",
        "shortconv.conv",
        "time_mix_first",
        "time_mix_w1",
        "time_mix_w2",
        "time_mix_decay_w1",
        "time_mix_decay_w2",
        "time_mix_lerp_fused",
        "altup_correct_coef",
        "altup_predict_coef",
        "ssm_conv1d_q",
        "ssm_conv1d_k",
        "ssm_conv1d_v",
        "indexer.proj",
    ]
)


def ggml_dimensions(shape: Sequence[int]) -> int:
    """Count dimensions as ggml does: without leading dimensions of size 1, but at least one."""
    dimensions = len(shape)
    while dimensions > 1 and shape[len(shape) - dimensions] == 1:
        dimensions -= 1
    return max(dimensions, 1)


def is_quantizable(architecture: str, name: str, shape: Sequence[int]) -> bool:
    """Whether llama.cpp quantizes this tensor: a matrix named `…weight` that is not an exception."""
    return (
        ggml_dimensions(shape) >= 2
        and name.endswith("weight")
        and name not in _KEPT_NAMES
        and not any(part in name for part in _KEPT_PARTS)
        and not any(part in name for part in _KEPT_PARTS_OF_ARCHITECTURE.get(architecture, ()))
    )


def converter_type(name: str, shape: Sequence[int], default: T) -> T:
    """Return the converter's type for a tensor of a float file."""
    part = re.sub(r"^(enc\.|dec\.)?blk\.\d+\.", "", name).removesuffix(".weight")
    always = len(shape) <= 1 or name.endswith("_norm.weight") or not name.endswith(".weight") or part in _ALWAYS_FLOAT32
    return T.F32 if always else default

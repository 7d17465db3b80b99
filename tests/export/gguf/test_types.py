"""The type of every tensor is llama.cpp's own choice, also for shapes too large to quantize in a test."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import pytest
from edgeproof.contracts.errors import InputError, UsageError
from edgeproof.contracts.tensors import MetadataEntry, ModelDescription, OutputTensor
from edgeproof.export.gguf.exceptions import ggml_dimensions, is_quantizable
from edgeproof.export.gguf.overrides import parse_override
from edgeproof.export.gguf.types import (
    FLOAT_SCHEMES,
    SCHEMES,
    choose_types,
    quantize_order,
    traits_of,
)
from gguf import GGMLQuantizationType as T

QUANTIZED = [scheme for scheme in SCHEMES if scheme not in FLOAT_SCHEMES]


class Descriptor(ctypes.Structure):
    """`llama_quant_model_desc` of llama.cpp's src/llama-ext.h."""

    _fields_ = (
        ("architecture", ctypes.c_char_p),
        *((name, ctypes.c_uint32) for name in ("embd", "ff", "layer", "head", "head_kv", "expert", "head_k", "head_v")),
    )


class Library:
    """llama.cpp's own choice of types, through the functions that it keeps for tools and tests (C++ names)."""

    def __init__(self):
        import llama_cpp

        folder = Path(importlib.util.find_spec("llama_cpp").submodule_search_locations[0]) / "lib"
        self._llama = ctypes.CDLL(str(folder / "libllama.so"))
        self._base = ctypes.CDLL(str(folder / "libggml-base.so"))
        self._default_parameters = llama_cpp.llama_model_quantize_default_params
        self._model = self._llama._Z31llama_quant_model_from_metadataPK22llama_quant_model_desc
        self._init = self._llama._Z16llama_quant_initPK11llama_modelPK27llama_model_quantize_params
        self._allows = self._llama._Z38llama_quant_tensor_allows_quantizationPK19quantize_state_implPK11ggml_tensor
        self._types = (
            self._llama._Z25llama_quant_compute_typesP19quantize_state_impl11llama_ftypePP11ggml_tensorP9ggml_typem
        )
        self._free = self._llama._Z16llama_quant_freeP19quantize_state_impl
        for function in (self._model, self._init, self._base.ggml_init, self._base.ggml_new_tensor):
            function.restype = ctypes.c_void_p
        self._allows.restype = ctypes.c_bool

    def __call__(self, description, scheme):
        values = {entry.key.rpartition(".")[2]: entry.value for entry in description.metadata}
        heads = values["head_count"]
        descriptor = Descriptor(
            description.architecture.encode(),
            values["embedding_length"],
            values["feed_forward_length"],
            values["block_count"],
            heads,
            values["head_count_kv"],
            values.get("expert_count", 0),
            values["embedding_length"] // heads,
            values["embedding_length"] // heads,
        )
        parameters = self._default_parameters()
        model = ctypes.c_void_p(self._model(ctypes.byref(descriptor)))
        state = ctypes.c_void_p(self._init(model, ctypes.byref(parameters)))

        class InitParameters(ctypes.Structure):
            _fields_ = (("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))

        self._base.ggml_init.argtypes = [InitParameters]
        context = ctypes.c_void_p(self._base.ggml_init(InitParameters(size=1 << 24, no_alloc=True)))
        shapes = {tensor.name: tensor.shape for tensor in description.tensors}
        allowed, chosen = {}, dict.fromkeys(shapes, T.F32)
        for name in quantize_order(shapes):
            dimensions = (ctypes.c_int64 * len(shapes[name]))(*reversed(shapes[name]))
            tensor = self._base.ggml_new_tensor(context, int(T.F32), len(shapes[name]), dimensions)
            self._base.ggml_set_name(ctypes.c_void_p(tensor), name.encode())
            if self._allows(state, ctypes.c_void_p(tensor)):
                allowed[name] = tensor
        pointers = (ctypes.c_void_p * len(allowed))(*allowed.values())
        result = (ctypes.c_int * len(allowed))()
        ftype = int(SCHEMES[scheme][0])
        self._types(state, ctypes.c_int(ftype), pointers, result, ctypes.c_size_t(len(allowed)))
        chosen.update({name: T(kind) for name, kind in zip(allowed, result, strict=True)})
        self._free(state)
        self._base.ggml_free(context)
        return chosen


@pytest.fixture(scope="module")
def library():
    return Library()


def describe(
    architecture="llama", *, layers, hidden, ffn, heads, heads_kv, experts=0, tied=False, fused=False, mla=False
):
    """A description by shapes alone."""
    keys = {
        "block_count": layers,
        "embedding_length": hidden,
        "feed_forward_length": ffn,
        "attention.head_count": heads,
        "attention.head_count_kv": heads_kv,
        **({"expert_count": experts} if experts else {}),
    }
    metadata = tuple(MetadataEntry(f"{architecture}.{key}", value, "UINT32") for key, value in keys.items())
    kv = hidden // heads * heads_kv
    shapes = {"token_embd.weight": (320, hidden), "output_norm.weight": (hidden,)}
    if not tied:
        shapes["output.weight"] = (320, hidden)
    for layer in range(layers):
        layer_shapes = {"attn_norm.weight": (hidden,), "attn_output.weight": (hidden, hidden), "attn_q.bias": (hidden,)}
        if mla:
            layer_shapes |= {"attn_kv_b.weight": (2 * hidden, 512), "attn_q.weight": (hidden, hidden)}
        elif fused:
            layer_shapes |= {"attn_qkv.weight": (hidden + 2 * kv, hidden)}
        else:
            layer_shapes |= {f"attn_{part}.weight": (kv, hidden) for part in "kv"}
            layer_shapes |= {"attn_q.weight": (hidden, hidden)}
        if experts:
            layer_shapes |= {"ffn_gate_inp.weight": (experts, hidden)}
            layer_shapes |= {f"ffn_{part}_exps.weight": (experts, ffn, hidden) for part in ("up", "gate")}
            layer_shapes |= {"ffn_down_exps.weight": (experts, hidden, ffn), "ffn_down_shexp.weight": (hidden, ffn)}
        else:
            layer_shapes |= {f"ffn_{part}.weight": (ffn, hidden) for part in ("up", "gate")}
            layer_shapes |= {"ffn_down.weight": (hidden, ffn)}
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in layer_shapes.items()}
    tensors = tuple(OutputTensor(name, "x", shape) for name, shape in shapes.items())
    return ModelDescription(architecture, metadata, tensors)


SHAPES = {
    "SmolLM2-135M": describe(layers=30, hidden=576, ffn=1536, heads=9, heads_kv=3, tied=True),
    "SmolLM2-1.7B": describe(layers=24, hidden=2048, ffn=8192, heads=32, heads_kv=32, tied=True),
    "Llama-3.2-1B": describe(layers=16, hidden=2048, ffn=8192, heads=32, heads_kv=8, tied=True),
    "Llama-2-7B": describe(layers=32, hidden=4096, ffn=11008, heads=32, heads_kv=32),
    "Llama-3-70B": describe(layers=80, hidden=8192, ffn=28672, heads=64, heads_kv=8),
    "Llama-65B": describe(layers=80, hidden=8192, ffn=22016, heads=64, heads_kv=64),
    "Mixtral-8x7B": describe(layers=32, hidden=4096, ffn=14336, heads=32, heads_kv=8, experts=8),
    "Qwen2.5-0.5B": describe("qwen2", layers=24, hidden=896, ffn=4864, heads=14, heads_kv=2, tied=True),
    "Qwen2.5-1.5B": describe("qwen2", layers=28, hidden=1536, ffn=8960, heads=12, heads_kv=2, tied=True),
    "Qwen3-30B-A3B": describe("qwen3moe", layers=48, hidden=2048, ffn=768, heads=32, heads_kv=4, experts=128),
    "Gemma-2-2B": describe("gemma2", layers=26, hidden=2304, ffn=9216, heads=8, heads_kv=4, tied=True),
    "Gemma-3-270M": describe("gemma3", layers=18, hidden=640, ffn=2048, heads=4, heads_kv=1, tied=True),
    "Phi-3-mini": describe("phi3", layers=32, hidden=3072, ffn=8192, heads=32, heads_kv=32, fused=True),
    "LFM2-350M": describe("lfm2", layers=16, hidden=1024, ffn=4608, heads=16, heads_kv=8, tied=True),
    "Falcon-40B": describe("falcon", layers=60, hidden=8192, ffn=32768, heads=128, heads_kv=8, fused=True),
    "DeepSeek": describe("deepseek2", layers=27, hidden=2048, ffn=1408, heads=16, heads_kv=16, experts=64, mla=True),
    "tiny, rows of 80": describe(layers=2, hidden=80, ffn=144, heads=1, heads_kv=1),
}


@pytest.mark.parametrize("scheme", QUANTIZED)
@pytest.mark.parametrize("shape", SHAPES)
def test_types_equal_llama_cpps_for_real_shapes(library, shape, scheme):
    description = SHAPES[shape]
    ours = choose_types(description, scheme)
    assert list(ours) == quantize_order(ours)
    assert {name: chosen.name for name, chosen in ours.items()} == {
        name: kind.name for name, kind in sorted(library(description, scheme).items())
    }


EXCEPTIONAL = [
    "position_embd",
    "token_types",
    "per_layer_model_proj",
    "per_layer_token_embd",
    "enc.blk.0.attn_rel_b",
    "v.position_embd",
    "v.patch_embd",
    "mm.a.code_embd",
    "a.rvq.codebook",
    "blk.0.ffn_gate_inp",
    "blk.0.ffn_gate_tid2eid",
    "blk.0.altup_router",
    "blk.0.laurel_l",
    "blk.0.ssm_conv1d",
    "blk.0.shortconv.conv",
    "blk.0.shortconv.in_proj",
    "blk.0.indexer.k_proj",
    "blk.0.indexer.q_proj",
    "blk.0.indexer.proj",
    "blk.0.time_mix_first",
    "blk.0.time_mix_w1",
    "blk.0.time_mix_key",
    "blk.0.time_mix_lerp_fused",
    "blk.0.hc_x",
    "blk.0.ssm_beta",
    "blk.0.attn_k_b",
    "blk.0.attn_q_a",
    "blk.0.attn_q_b",
    "blk.0.nextn.eh_proj",
    "blk.0.ssm_in",
    "blk.0.attn_q_norm",
    "blk.0.ffn_norm_exps",
    "blk.0.ssm_f_a",
]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bert", "rwkv7", "glm5-next", "lfm2", "gemma3n"])
def test_the_exceptions_from_quantizing_are_llama_cpps(library, architecture):
    plain = describe(architecture, layers=1, hidden=256, ffn=256, heads=4, heads_kv=2)
    extra = tuple(OutputTensor(f"{name}.weight", "x", (64, 256)) for name in EXCEPTIONAL)
    extra += (OutputTensor("blk.0.odd.weight_g", "x", (64, 256)), OutputTensor("blk.0.flat.weight", "x", (1, 256)))
    description = ModelDescription(architecture, plain.metadata, plain.tensors + extra)
    expected = library(description, "Q4_K_M")
    ours = choose_types(description, "Q4_K_M")
    assert {name: chosen.name for name, chosen in ours.items()} == {n: k.name for n, k in sorted(expected.items())}


def test_files_are_ordered_by_layer_then_name():
    names = ["token_embd.weight", "blk.10.a", "blk.2.b", "output.weight", "blk.2.a", "blk.2.B", "enc.blk.0.a"]
    assert quantize_order(names) == [
        "enc.blk.0.a", "output.weight", "token_embd.weight", "blk.2.B", "blk.2.a", "blk.2.b", "blk.10.a",
    ]  # fmt: skip


def test_dimensions_are_counted_as_ggml_counts_them():
    assert [ggml_dimensions(shape) for shape in [(), (5,), (1, 5), (5, 1), (1, 5, 1), (1, 1)]] == [1, 1, 1, 2, 2, 1]
    assert not is_quantizable("llama", "blk.0.flat.weight", (1, 256))


def test_the_first_layer_tells_the_number_of_key_value_heads():
    entries = {"block_count": 3, "attention.head_count": 16, "attention.head_count_kv": [0, 0, 4], "expert_count": 0}
    metadata = tuple(MetadataEntry(f"lfm2.{key}", value, "UINT32") for key, value in entries.items())
    assert traits_of(ModelDescription("lfm2", metadata, ())).gqa == 0


def test_overrides_are_read_as_llama_quantize_reads_them():
    assert parse_override("Attn_V=Q8_0") == ("attn_v", T.Q8_0)
    assert parse_override(r"blk\.(1|2)\.ffn=iq4_xs").pattern == r"blk\.(1|2)\.ffn"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attn_v", "not PATTERN=TYPE"),
        ("=q8_0", "not PATTERN=TYPE"),
        ("attn_v=", "not PATTERN=TYPE"),
        ("attn_v=q9", "no type 'q9'"),
        ("attn_v=q8_1", "no type 'q8_1'"),
        ("attn_v=i32", "no type 'i32'"),
        ("attn_(v=q8_0", "unterminated"),
        ("(?i)attn=q8_0", "different things"),
        ("[[:alpha:]]=q8_0", "different things"),
    ],
)
def test_a_bad_override_is_a_usage_error(text, message):
    with pytest.raises(UsageError, match=message):
        parse_override(text)


def test_a_type_that_needs_an_importance_matrix_is_refused_without_one():
    description = SHAPES["Llama-3.2-1B"]
    with pytest.raises(InputError, match=r"blk\.0\.ffn_up\.weight as IQ2_XXS needs an importance matrix"):
        choose_types(description, "Q4_K_M", overrides=[parse_override("ffn_up=iq2_xxs")])


def test_float_files_keep_the_order_of_the_description_and_their_vectors_in_float32():
    description = SHAPES["LFM2-350M"]
    extra = (OutputTensor("blk.0.shortconv.conv.weight", "x", (1024, 3)), OutputTensor("blk.0.b.bias", "x", (2, 3)))
    description = ModelDescription("lfm2", description.metadata, description.tensors + extra)
    chosen = choose_types(description, "F16")
    assert list(chosen) == [tensor.name for tensor in description.tensors]
    kept = {name for name, kind in chosen.items() if kind is T.F32}
    assert kept == {name for name in chosen if "norm" in name or "bias" in name or "shortconv.conv" in name}
    assert set(choose_types(description, "F32").values()) == {T.F32}

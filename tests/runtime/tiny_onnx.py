"""The tiny random Llama of `tiny_gguf` as an ONNX folder, written with the onnx package alone: the same weights.

Laid out as onnxruntime-genai's builder does it: packed q, k and v, GroupQueryAttention, MatMulNBits in blocks of 32.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
from edgeproof_tests.runtime import tiny_gguf
from edgeproof_tests.runtime.tiny_gguf import BOS, CONTEXT, EOS, HEAD, HEADS, HIDDEN, KV_HEADS, LAYERS, MERGES, TEMPLATE
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BLOCK = 32
QKV = (HEADS + 2 * KV_HEADS) * HEAD


def write(
    folder: Path,
    tensors: Mapping[str, np.ndarray] | None = None,
    *,
    bits: int | None = None,
    level: int = 4,
    window: int = -1,
    short: bool = False,
    tokens: list[str] | None = None,
    add_bos: bool = True,
    template: str | None = TEMPLATE,
) -> Path:
    """Write the folder.

    `bits` 4 quantizes the products, symmetric, for accuracy level `level`; `short` lets memories be as short as
    `window`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph = _Graph(bits, level, window)
    graph.cache = {"sliding_window_cache": 1} if short else {}
    weights = tiny_gguf.weights() if tensors is None else tensors
    graph.build(weights)
    graph.save(folder, vocabulary=len(weights["token_embd.weight"]))
    write_tokenizer(folder, tiny_gguf.vocabulary() if tokens is None else tokens, add_bos=add_bos)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def write_tokenizer(folder: Path, tokens: list[str], *, add_bos: bool = True) -> None:
    """Write tokenizer.json and tokenizer_config.json: byte-level BPE; BOS in front where `add_bos`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    vocabulary = {token: index for index, token in enumerate(tokens) if token not in {BOS, EOS}}
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(merge.split()) for merge in MERGES]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (BOS, EOS)])
    if add_bos:
        named = [(BOS, tokenizer.token_to_id(BOS))]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=named)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": BOS, "eos_token": EOS, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def change_graph(folder: Path, change) -> Path:
    """Apply `change(model)` to the graph of `folder`, in place."""
    path = folder / "model.onnx"
    model = onnx.load_model(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    return folder


def change_config(folder: Path, change) -> Path:
    """Apply `change(config)` to genai_config.json of `folder`, in place."""
    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return folder


def quantize(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes [rows, blocks, 16] and scales [rows × blocks] of [rows, columns], 4 bits, symmetric, in blocks of 32."""
    blocks = weight.reshape(len(weight), -1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)
    scales = (largest / -8).astype(np.float32)
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    codes = np.clip(np.rint(blocks * inverse) + 8, 0, 15).astype(np.uint8)
    return codes[..., ::2] | codes[..., 1::2] << 4, scales.ravel()


class _Graph:
    def __init__(self, bits: int | None, level: int, window: int) -> None:
        self.bits, self.level, self.window = bits, level, window
        self.cache: dict[str, int] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}

    def node(self, kind: str, inputs: list[str], outputs: list[str], *, domain: str = "", **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=f"/{outputs[0]}", domain=domain, **attributes))
        return outputs[0]

    def array(self, name: str, array: np.ndarray) -> str:
        self.arrays[name] = np.ascontiguousarray(array)
        return name

    def product(self, source: str, name: str, weight: np.ndarray, output: str) -> str:
        rows, columns = weight.shape
        if self.bits is None:
            return self.node("MatMul", [source, self.array(f"{name}.weight", weight.T)], [output])
        codes, scales = quantize(weight)
        inputs = [source, self.array(f"{name}.weight_Q4", codes), self.array(f"{name}.weight_scales", scales)]
        sizes = {"K": columns, "N": rows, "bits": self.bits, "block_size": BLOCK, "accuracy_level": self.level}
        return self.node("MatMulNBits", inputs, [output], domain="com.microsoft", **sizes)

    def build(self, weights: Mapping[str, np.ndarray]) -> None:
        one, zero = self.array("one", np.array([1], np.int64)), self.array("first", np.array(1, np.int64))
        self.node("ReduceSum", ["attention_mask", one], ["lengths"], keepdims=0)
        self.node("Sub", ["lengths", one], ["last"])
        self.node("Cast", ["last"], ["seqlens_k"], to=TensorProto.INT32)
        self.node("Shape", ["attention_mask"], ["mask_shape"])
        self.node("Gather", ["mask_shape", zero], ["total"], axis=0)
        self.node("Cast", ["total"], ["total_length"], to=TensorProto.INT32)
        angles = np.outer(np.arange(CONTEXT), 10000.0 ** (-np.arange(0, HEAD, 2) / HEAD))
        self.array("cos_cache", np.cos(angles).astype(np.float32))
        self.array("sin_cache", np.sin(angles).astype(np.float32))
        table = self.array("embedding", weights["token_embd.weight"])
        stream = self.node("Gather", [table, "input_ids"], ["embedded"], axis=0)
        scale = self.array("blk.0.attn_norm", weights["blk.0.attn_norm.weight"])
        options = {"epsilon": 1e-5, "axis": -1, "stash_type": 1}
        normed = self.node("SimplifiedLayerNormalization", [stream, scale], ["normed.0"], **options)
        for layer in range(LAYERS):
            out = self.attention(layer, normed, weights)
            stream, normed = self.skip(stream, out, f"blk.{layer}.ffn_norm", weights)
            out = self.feed_forward(layer, normed, weights)
            following = "output_norm" if layer + 1 == LAYERS else f"blk.{layer + 1}.attn_norm"
            stream, normed = self.skip(stream, out, following, weights)
        self.product(normed, "lm_head", weights["token_embd.weight"], "logits")

    def attention(self, layer: int, normed: str, weights: Mapping[str, np.ndarray]) -> str:
        prefix = f"blk.{layer}"
        packed = np.concatenate([weights[f"{prefix}.attn_{part}.weight"] for part in "qkv"])
        qkv = self.product(normed, f"{prefix}.attn_qkv", packed, f"qkv.{layer}")
        past = [f"past_key_values.{layer}.{what}" for what in ("key", "value")]
        present = [f"present.{layer}.{what}" for what in ("key", "value")]
        attended = self.node(
            "GroupQueryAttention",
            [qkv, "", "", *past, "seqlens_k", "total_length", "cos_cache", "sin_cache"],
            [f"attended.{layer}", *present],
            domain="com.microsoft",
            num_heads=HEADS,
            kv_num_heads=KV_HEADS,
            scale=HEAD**-0.5,
            do_rotary=1,
            rotary_interleaved=1,  # the layout of GGUF's q and k
            local_window_size=self.window,
            **self.cache,
        )
        output = f"{prefix}.attn_output"
        return self.product(attended, output, weights[f"{output}.weight"], f"attention.{layer}")

    def feed_forward(self, layer: int, normed: str, weights: Mapping[str, np.ndarray]) -> str:
        prefix = f"blk.{layer}.ffn"
        gate = self.product(normed, f"{prefix}_gate", weights[f"{prefix}_gate.weight"], f"gate.{layer}")
        up = self.product(normed, f"{prefix}_up", weights[f"{prefix}_up.weight"], f"up.{layer}")
        self.node("Sigmoid", [gate], [f"sigmoid.{layer}"])
        self.node("Mul", [gate, f"sigmoid.{layer}"], [f"silu.{layer}"])
        self.node("Mul", [f"silu.{layer}", up], [f"inner.{layer}"])
        return self.product(f"inner.{layer}", f"{prefix}_down", weights[f"{prefix}_down.weight"], f"down.{layer}")

    def skip(self, stream: str, out: str, norm: str, weights: Mapping[str, np.ndarray]) -> tuple[str, str]:
        scale = self.array(norm, weights[f"{norm}.weight"])
        outputs = [f"{norm}.normed", "", "", f"{norm}.sum"]
        inputs = [stream, out, scale]
        self.node("SkipSimplifiedLayerNormalization", inputs, outputs, domain="com.microsoft", epsilon=1e-5)
        return outputs[3], outputs[0]

    def save(self, folder: Path, *, vocabulary: int) -> None:
        memory = ["batch_size", KV_HEADS, "length", HEAD]
        names = [f"{layer}.{what}" for layer in range(LAYERS) for what in ("key", "value")]
        inputs = [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch_size", "sequence_length"]),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch_size", "total_length"]),
            *(helper.make_tensor_value_info(f"past_key_values.{n}", TensorProto.FLOAT, memory) for n in names),
        ]
        logits = ["batch_size", "sequence_length", vocabulary]
        outputs = [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, logits),
            *(helper.make_tensor_value_info(f"present.{n}", TensorProto.FLOAT, memory) for n in names),
        ]
        with (folder / "model.onnx.data").open("wb") as file:
            initializers = [_external(name, array, file) for name, array in self.arrays.items()]
        graph = helper.make_graph(self.nodes, "tiny", inputs, outputs, initializers)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        (folder / "genai_config.json").write_text(json.dumps(_config(vocabulary), indent=1))


def _external(name: str, array: np.ndarray, file) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
    if array.size < 8:  # shapes that inference reads lie in the graph, as the builder has it
        tensor.raw_data = array.tobytes()
        return tensor
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "model.onnx.data"), ("offset", file.tell()), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    file.write(array.tobytes())
    file.write(bytes(-file.tell() % 64))
    return tensor


def _config(vocabulary: int) -> dict[str, object]:
    tokens = tiny_gguf.vocabulary()
    decoder = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": "model.onnx",
        "head_size": HEAD,
        "hidden_size": HIDDEN,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KV_HEADS,
    }
    return {
        "model": {
            "bos_token_id": tokens.index(BOS),
            "context_length": CONTEXT,
            "decoder": decoder,
            "eos_token_id": tokens.index(EOS),
            "pad_token_id": tokens.index(EOS),
            "type": "llama",
            "vocab_size": vocabulary,
        },
        "search": {"max_length": CONTEXT, "do_sample": False, "past_present_share_buffer": True},
    }

"""ONNX graph of a decoder: nodes, inputs, outputs and caches as in onnxruntime-genai's builder for the CPU.

```
  input_ids ─▶ embedding ─▶ { norm ─▶ q,k,v ─▶ attention ─▶ o ─▶ norm ─▶ gate, up ─▶ down } × layers ─▶ norm ─▶ head
  attention_mask ─▶ lengths ───────────────────▲ past_key_values.N.key/value ─▶ present.N.key/value     logits ◀─┘
```
Differences from the builder: float matrices keep the checkpoint's layout (FusedMatMul with transB), so that rows stream
to the file and a tied table is stored once; every sliding layer slides (the builder drops the window if config.json has
no layer_types), over a cache of all tokens (`windowed_kv_cache=false` in the builder: its windowed one runs in
onnxruntime-genai only); embeddings are scaled by the exact √hidden, not a rounded one; rope tables follow torch for
every scaling. Operators: onnxruntime, `docs/ContribOperators.md`.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from edgeproof.export.onnx.graph.attention import add_attention, add_lengths, add_rope_choice
from edgeproof.export.onnx.graph.feed_forward import add_feed_forward
from edgeproof.export.onnx.graph.linear import add_linear
from edgeproof.export.onnx.graph.nodes import CONTRIB, Build, Nodes
from edgeproof.export.onnx.weights.places import EMBEDDING, HEAD
from edgeproof.export.onnx.weights.quantize import BLOCK, block_count
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from edgeproof.export.architectures.hyper_parameters import HyperParameters
    from edgeproof.export.onnx.weights.layout import Initializer, OnnxLayout
    from onnx import ModelProto, ValueInfoProto

DATA_FILE = "model.onnx.data"
OPSET = 22
CONTRIB_OPSET = 1
IR_VERSION = 10
ACCURACY_LEVEL = 4
"""MatMulNBits computes with activations in int8: the builder's default on the CPU."""


def build_graph(model: HyperParameters, layout: OnnxLayout, *, accuracy_level: int = ACCURACY_LEVEL) -> ModelProto:
    """Return the model, with its weights in `DATA_FILE` at the offsets of `layout`.

    `accuracy_level`: MatMulNBits' attribute; 0 computes in float32.
    """
    nodes = Nodes()
    build = Build(nodes, model, layout, accuracy_level)
    lengths = add_lengths(nodes)
    if "_large" in layout.tables:
        assert model.rope.original_context is not None
        add_rope_choice(nodes, lengths, layout.tables, model.rope.original_context)
    residual = _add_embedding(build)
    normed, before = "", ""
    for layer in range(model.layers):
        norm = f"layers.{layer}/input_layernorm"
        normed, residual = _add_norm(build, norm, residual, before)
        attended = add_attention(build, layer, normed, lengths)
        if model.post_norms:
            attended, _ = _add_norm(build, f"layers.{layer}/post_attention_layernorm", attended)
            normed, residual = _add_norm(build, f"layers.{layer}/pre_feedforward_layernorm", residual, attended)
        else:
            normed, residual = _add_norm(build, f"layers.{layer}/post_attention_layernorm", residual, attended)
        before = add_feed_forward(build, layer, normed)
        if model.post_norms:
            before, _ = _add_norm(build, f"layers.{layer}/post_feedforward_layernorm", before)
    normed, _ = _add_norm(build, f"layers.{model.layers}/final_norm_layernorm", residual, before)
    _add_head(build, normed)
    inputs, outputs = _interface(model)
    graph = helper.make_graph(
        nodes.all, "main_graph", inputs, outputs, [_external(array) for array in layout.initializers]
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, CONTRIB_OPSET)]
    return helper.make_model(
        graph,
        opset_imports=opsets,
        ir_version=IR_VERSION,
        producer_name="edgeproof",
        producer_version=version("edgeproof"),
    )


def _add_embedding(build: Build) -> str:
    nodes, model, layout = build.nodes, build.model, build.layout
    name = "/model/embed_tokens"
    stored = layout.matrices.get(EMBEDDING, layout.matrices[HEAD])
    if stored.precision is None:
        output = nodes.add("Gather", f"{name}/Gather", [stored.codes.name, "input_ids"])
    else:
        assert stored.scales is not None
        width = stored.codes.bytes // model.vocabulary
        shape = nodes.integers([model.vocabulary, width])
        table = nodes.add("Reshape", f"{name}/Reshape", [stored.codes.name, shape])
        arrays = [table, "input_ids", *(array.name for array in stored.arrays[1:])]
        output = nodes.add(
            "GatherBlockQuantized",
            f"{name}/GatherBlockQuantized",
            arrays,
            contrib=True,
            bits=stored.precision.bits,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )
        if block_count(model.hidden) * BLOCK != model.hidden:
            bounds = [nodes.integers([bound]) for bound in (0, model.hidden, -1)]
            output = nodes.add("Slice", f"{name}/Slice", [output, *bounds])
    if model.embedding_scale == 1.0:
        return output
    return nodes.add("Mul", f"{name}/Mul", [output, nodes.number(model.embedding_scale)])


def _add_norm(build: Build, place: str, value: str, added: str = "") -> tuple[str, str]:
    """Norm `value`, or `value` + `added`; return the normed value and the sum."""
    nodes, epsilon = build.nodes, build.model.norm_epsilon
    weight = f"model.{place.replace('/', '.')}.weight"
    output = f"/model/{place}/output_0"
    if not added:
        nodes.add(
            "SimplifiedLayerNormalization",
            f"/model/{place}/LayerNorm",
            [value, weight],
            outputs=[output],
            epsilon=epsilon,
            axis=-1,
            stash_type=1,
        )
        return output, value
    total = f"/model/{place}/output_3"
    nodes.add(
        "SkipSimplifiedLayerNormalization",
        f"/model/{place}/SkipLayerNorm",
        [value, added, weight],
        outputs=[output] if "final_norm" in place else [output, "", "", total],
        contrib=True,
        epsilon=epsilon,
    )
    return output, total


def _add_head(build: Build, normed: str) -> None:
    nodes, cap = build.nodes, build.model.logit_softcap
    stored = build.layout.matrices[HEAD]
    if cap is None:
        add_linear(build, stored, "/lm_head", normed, output="logits")
        return
    logits = add_linear(build, stored, "/lm_head", normed)
    limit = nodes.number(cap)
    quotient = nodes.add("Div", "/lm_head/softcap/Div", [logits, limit])
    bounded = nodes.add("Tanh", "/lm_head/softcap/Tanh", [quotient])
    nodes.add("Mul", "/lm_head/softcap/Mul", [bounded, limit], outputs=["logits"])


def _interface(model: HyperParameters) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    """Return the graph's inputs and outputs. Caches are [batch, kv heads, tokens, head size]."""
    batch, tokens, total = "batch_size", "sequence_length", "total_sequence_length"
    inputs = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, [batch, tokens]),
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, [batch, total]),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, tokens, model.vocabulary])]
    for which in ("key", "value"):
        for layer in range(model.layers):
            for values, name, length in (
                (inputs, "past_key_values", "past_sequence_length"),
                (outputs, "present", total),
            ):
                shape: list[str | int] = [batch, model.kv_heads, length, model.head_dim]
                values.append(helper.make_tensor_value_info(f"{name}.{layer}.{which}", TensorProto.FLOAT, shape))
    return inputs, outputs


def _external(array: Initializer) -> TensorProto:
    tensor = TensorProto(name=array.name, data_type=getattr(TensorProto, array.kind), dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", DATA_FILE), ("offset", array.offset), ("length", array.bytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor

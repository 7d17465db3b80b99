"""Attention of a layer, and the nodes that all layers share: sequence lengths, choice of the rope table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.export.architectures.hyper_parameters import SLIDING
from edgeproof.export.onnx.graph.linear import add_projection
from edgeproof.export.onnx.weights.layout import table_suffix
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.export.onnx.graph.nodes import Build, Nodes
    from edgeproof.export.onnx.weights.layout import StoredTable
    from onnx import GraphProto


class Lengths(NamedTuple):
    """Value names: tokens before the last one, int32 [batch]; longest sequence's length, int32 and int64 scalars."""

    last: str
    total: str
    total_int64: str


def add_lengths(nodes: Nodes) -> Lengths:
    """Count the tokens of each sequence from the attention mask: 1 for tokens, 0 for the padding after them."""
    place = "/model/attn_mask_reformat/attn_mask_subgraph"
    count = nodes.add("ReduceSum", f"{place}/ReduceSum", ["attention_mask", nodes.integers([1])], keepdims=0)
    last = nodes.add("Sub", f"{place}/Sub", [count, nodes.integers([1])])
    last = nodes.add("Cast", f"{place}/Sub/Cast", [last], to=TensorProto.INT32)
    shape = nodes.add("Shape", f"{place}/Shape", ["attention_mask"])
    longest = nodes.add("Gather", f"{place}/Gather", [shape, nodes.integers(1)], axis=0)
    return Lengths(last, nodes.add("Cast", f"{place}/Gather/Cast", [longest], to=TensorProto.INT32), longest)


def add_rope_choice(nodes: Nodes, lengths: Lengths, tables: Mapping[str, StoredTable], original: int) -> None:
    """Choose longrope's tables by the longest sequence: within or beyond the `original` context."""
    place = "/model/rope_caches_subgraph"
    beyond = nodes.add("Greater", f"{place}/Greater", [lengths.total_int64, nodes.integers(original)])
    nodes.add(
        "If",
        f"{place}/If",
        [beyond],
        outputs=["cos_cache", "sin_cache"],
        then_branch=_branch(tables["_large"], "large"),
        else_branch=_branch(tables["_small"], "small"),
    )


def add_attention(build: Build, layer: int, value: str, lengths: Lengths) -> str:
    """Add q, k, v, their norms, rotation and attention over cache and new tokens, and the output projection."""
    nodes, model = build.nodes, build.model
    name, place = f"model.layers.{layer}.attn", f"/model/layers.{layer}/attn"
    packed = add_projection(build, f"{name}.qkv_proj", value)
    queries_keys_values = [packed, "", ""]
    if model.query_key_norm:
        queries_keys_values = _normed(build, layer, packed)
    suffix = table_suffix(model, layer)
    slides = model.layer_kinds[layer] == SLIDING
    attended = nodes.add(
        "GroupQueryAttention",
        f"{place}/GroupQueryAttention",
        [
            *queries_keys_values,
            *(f"past_key_values.{layer}.{which}" for which in ("key", "value")),
            lengths.last,
            lengths.total,
            f"cos_cache{suffix}",
            f"sin_cache{suffix}",
        ],
        outputs=[f"{place}/GroupQueryAttention/output_0", f"present.{layer}.key", f"present.{layer}.value"],
        contrib=True,
        num_heads=model.heads,
        kv_num_heads=model.kv_heads,
        scale=model.attention_scale,
        local_window_size=model.sliding_window if slides and model.sliding_window else -1,
        softcap=model.attention_softcap or 0.0,
        do_rotary=1,
        rotary_interleaved=0,
    )
    return add_projection(build, f"{name}.o_proj", attended)


def _normed(build: Build, layer: int, packed: str) -> list[str]:
    """Split q, k and v and norm each head of q and k. The operator's norm inputs are not implemented on the CPU."""
    nodes, model = build.nodes, build.model
    place = f"/model/layers.{layer}/attn"
    widths = [heads * model.head_dim for heads in (model.heads, model.kv_heads, model.kv_heads)]
    parts = [f"{place}/qkv_proj/Split/output_{number}" for number in range(3)]
    nodes.add("Split", f"{place}/qkv_proj/Split", [packed, nodes.integers(widths)], outputs=parts, axis=-1)
    for number, which in enumerate(("q", "k")):
        norm = f"{place}/{which}_norm"
        heads = nodes.add("Reshape", f"{norm}/Reshape_1", [parts[number], nodes.integers([0, -1, model.head_dim])])
        normed = nodes.add(
            "SimplifiedLayerNormalization",
            f"{norm}/SimplifiedLayerNormalization",
            [heads, f"model.layers.{layer}.attn.{which}_norm.layernorm.weight"],
            epsilon=model.norm_epsilon,
            axis=-1,
            stash_type=1,
        )
        parts[number] = nodes.add("Reshape", f"{norm}/Reshape_2", [normed, nodes.integers([0, -1, widths[number]])])
    return parts


def _branch(table: StoredTable, which: str) -> GraphProto:
    """Return the subgraph that yields one of the two pairs of tables; the arrays are the outer graph's."""
    names = [f"/{which}/{array.name}" for array in (table.cos, table.sin)]
    nodes = [
        helper.make_node("Identity", [array.name], [output], name=f"{output}/Identity")
        for array, output in zip((table.cos, table.sin), names, strict=True)
    ]
    outputs = [
        helper.make_tensor_value_info(output, TensorProto.FLOAT, array.shape)
        for array, output in zip((table.cos, table.sin), names, strict=True)
    ]
    return helper.make_graph(nodes, f"{which}_rotemb_caches_graph", [], outputs)

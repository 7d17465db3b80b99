"""Gated feed-forward block of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.export.onnx.graph.linear import add_projection

if TYPE_CHECKING:
    from edgeproof.export.onnx.graph.nodes import Build


def add_feed_forward(build: Build, layer: int, value: str) -> str:
    """Add down(activation(gate(x)) · up(x)) and return its output."""
    nodes = build.nodes
    name, place = f"model.layers.{layer}.mlp", f"/model/layers.{layer}/mlp"
    gate = add_projection(build, f"{name}.gate_proj", value)
    up = add_projection(build, f"{name}.up_proj", value)
    if build.model.activation == "gelu_tanh":
        activated = nodes.add("Gelu", f"{place}/act_fn/FastGelu", [gate], approximate="tanh")
    else:
        sigmoid = nodes.add("Sigmoid", f"{place}/act_fn/Sigmoid", [gate])
        activated = nodes.add("Mul", f"{place}/act_fn/Mul", [gate, sigmoid])
    product = nodes.add("Mul", f"{place}/Mul", [activated, up])
    return add_projection(build, f"{name}.down_proj", product)

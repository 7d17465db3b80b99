"""Node list of a graph, with the node names of onnxruntime-genai's builder."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnx import TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.export.architectures.hyper_parameters import HyperParameters
    from edgeproof.export.onnx.weights.layout import OnnxLayout
    from onnx import GraphProto, NodeProto

CONTRIB = "com.microsoft"


class Nodes:
    """Nodes in topological order, as added. A node's output is `NAME/output_N`."""

    def __init__(self) -> None:
        self.all: list[NodeProto] = []
        self._constants: set[str] = set()

    def add(
        self,
        operator: str,
        name: str,
        inputs: Sequence[str],
        *,
        outputs: Sequence[str] | None = None,
        contrib: bool = False,
        **attributes: float | str | list[int] | GraphProto,
    ) -> str:
        """Add a node and return its first output; `contrib` for onnxruntime's own operators."""
        outputs = outputs or [f"{name}/output_0"]
        node = helper.make_node(operator, inputs, outputs, name=name, domain=CONTRIB if contrib else None)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        self.all.append(node)
        return outputs[0]

    def integers(self, values: int | Sequence[int]) -> str:
        """Return an int64 constant, a scalar or a list; equal values share one constant."""
        shape = () if isinstance(values, int) else (len(values),)
        return self._constant("INT64", values if isinstance(values, int) else list(values), shape)

    def number(self, value: float) -> str:
        """Return a scalar float32 constant."""
        return self._constant("FLOAT", value, ())

    def _constant(self, kind: str, value: float | list[int], shape: tuple[int, ...]) -> str:
        output = f"/model/constants/{kind}/{value}"
        if output not in self._constants:
            self._constants.add(output)
            name = f"/model/constant_nodes/{kind}/{value}"
            flat = value if isinstance(value, list) else [value]
            tensor = helper.make_tensor(f"{name}/value", getattr(TensorProto, kind), shape, flat)
            self.all.append(helper.make_node("Constant", [], [output], name=name, value=tensor))
        return output


class Build(NamedTuple):
    """A graph being built: its nodes, the model, the layout of its arrays, and MatMulNBits' accuracy level."""

    nodes: Nodes
    model: HyperParameters
    layout: OnnxLayout
    accuracy_level: int

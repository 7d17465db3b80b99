"""Reader and validator of an ONNX folder's graph, run before onnxruntime loads it.

Only the graph is read, not the weights. The location of each tensor is checked: a folder is not trusted, and
onnxruntime must not read files outside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError, UnsupportedError
from edgeproof.contracts.onnx_folder import NAME, graph_file, nodes
from edgeproof.runtime.onnxruntime.config import GenaiConfig, read_config
from edgeproof.runtime.onnxruntime.data import check_data
from edgeproof.runtime.onnxruntime.rotations import check_rotations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

    Shape = tuple[int | str, ...]

LARGEST = 2**31 - 1
"""Maximum size of a protobuf message."""

_AGAIN = "export the folder again"
_INTEGERS = frozenset({6, 7})
"""int32 and int64 by `TensorProto.DataType`."""
_NEWER = "upgrade onnx and onnxruntime, or export for an older opset"


@dataclass(frozen=True)
class Graph:
    """A graph that is consistent with its folder.

    Attributes:
        folder: the graph's folder.
        source: the graph's file, or its bytes if changed in memory.
        config: content of genai_config.json.
        cache_type: numpy name of the key-value memory's type ("float32", "float16").
        logits_type: numpy name of the logits' type.
        has_positions: whether the graph has an input of position ids.
        original_context: the longest sequence, in tokens, that is computed with the short one of two pairs of rotary
            tables (Phi-3's long context): a sequence's results then depend on the call's longest sequence. None if it
            has one pair.
        window: the widest attention window whose memory may be as short as the window, 0 without one; the minimum
            length of the memory.
        accuracy_levels: accuracy levels of its MatMulNBits nodes, ascending; empty for a float graph.
        embedding: how its embedding table is stored: "float", "int4", "int8".

    """

    folder: Path
    source: Path | bytes
    config: GenaiConfig
    cache_type: str
    logits_type: str
    has_positions: bool
    original_context: int | None
    window: int
    accuracy_levels: tuple[int, ...]
    embedding: str


def read_graph(folder: Path, *, accuracy_level: int | None = None, long_rope: bool = False) -> Graph:
    """Read the graph of `folder`; with `accuracy_level` or `long_rope`, a copy that is changed in memory.

    A copy with `accuracy_level` differs in one attribute of the 4-bit products (MatMulNBits): 0 computes in float32, 4
    rounds activations to 8 bits. In one with `long_rope` the two pairs of rotary tables have changed places: sequences
    within the original context are computed with the long ones.

    Raises:
        ArtifactError: the folder is empty; a file is missing, truncated or outside it; the graph is invalid, too new,
            has an unknown operator, contradicts genai_config.json, or chooses by something else than a length.
        UnsupportedError: `accuracy_level` is given for a graph without 4-bit products, `long_rope` for one with one
            pair of tables.

    """
    if not folder.is_dir():
        kind = "is a file" if folder.exists() else "no such folder"
        raise ArtifactError(f"{folder}: {kind}", next_step=f"give the folder that holds {NAME}")
    if not any(folder.iterdir()):
        raise ArtifactError(f"{folder} is empty", next_step=f"give the folder that holds {NAME}")
    config = read_config(folder)
    path = config.graph
    model = _parse(path)
    _check_versions(path, model)
    _refuse_hidden_parts(path, model)
    _check_operators(path, model)
    check_data(path, model)
    check_rotations(path, model)
    graph = _described(path, model, config)
    if accuracy_level is not None:
        graph = _twin(graph, model, accuracy_level)
    return _with_long_rope(graph, model) if long_rope else graph


def embedding_type(folder: Path) -> str:
    """Return how the embedding table of `folder` is stored, as `Graph.embedding`; checks nothing else.

    Raises:
        ArtifactError: genai_config.json or the graph that it names cannot be read.

    """
    return _embedding(_parse(graph_file(folder)))


def original_context(folder: Path) -> int | None:
    """Return `Graph.original_context` of `folder`; checks nothing else.

    Raises:
        ArtifactError: genai_config.json or the graph that it names cannot be read, or it chooses by something else than
            a length.

    """
    path = graph_file(folder)
    return _original_context(path, _parse(path))


def _parse(path: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    size = path.stat().st_size
    if size > LARGEST:
        raise ArtifactError(
            f"{path} has {size:,} bytes; a graph ends at {LARGEST:,}", next_step="keep the weights in model.onnx.data"
        )
    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise ArtifactError(f"{path} ({size:,} bytes) is not an ONNX file: {error}", next_step=_AGAIN) from error
    if not model.graph.node or not model.opset_import:
        raise ArtifactError(f"{path} ({size:,} bytes) is not an ONNX file: it holds no graph", next_step=_AGAIN)
    return model


def _check_versions(path: Path, model: ModelProto) -> None:
    import onnx

    if model.ir_version > onnx.IR_VERSION:
        raise ArtifactError(
            f"{path} has IR version {model.ir_version}; onnx {onnx.__version__} knows up to {onnx.IR_VERSION}",
            next_step=_NEWER,
        )
    latest = {"": onnx.defs.onnx_opset_version(), "ai.onnx": onnx.defs.onnx_opset_version(), "com.microsoft": 1}
    for opset in model.opset_import:
        if opset.domain in latest and opset.version > latest[opset.domain]:
            raise ArtifactError(
                f"{path} has opset {opset.version} of {opset.domain or 'ai.onnx'}; "
                f"version {latest[opset.domain]} is the latest known here",
                next_step=_NEWER,
            )


def _refuse_hidden_parts(path: Path, model: ModelProto) -> None:
    """Refuse operators and weights outside the graph's nodes and initializers, which the checks below do not cover."""
    found = {
        "functions of its own": len(model.functions),
        "training graphs": len(model.training_info),
        "sparse weights": len(model.graph.sparse_initializer),
    }
    for what, count in found.items():
        if count:
            raise ArtifactError(
                f"{path} has {count} {what}; only graphs with plain nodes and weights are supported",
                next_step="export the model again, or inline its functions (onnx.inliner)",
            )


def _check_operators(path: Path, model: ModelProto) -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    known = {(schema.domain, schema.name) for schema in get_all_operator_schema()}
    for node in nodes(model.graph):
        domain = "" if node.domain == "ai.onnx" else node.domain
        if (domain, node.op_type) not in known:
            raise ArtifactError(
                f"{path}: the node {node.name!r} has the operator {domain or 'ai.onnx'}:{node.op_type}, "
                "which the installed onnxruntime does not know",
                next_step="export without custom operators, or upgrade onnxruntime",
            )


def _described(path: Path, model: ModelProto, config: GenaiConfig) -> Graph:
    """Check inputs and outputs against genai_config.json."""
    inputs = {value.name: value for value in model.graph.input}
    outputs = {value.name: value for value in model.graph.output}
    known = {config.input_ids, config.attention_mask, config.position_ids, *config.past}
    _check_names(path, "input", inputs, known, {config.input_ids, config.attention_mask, *config.past})
    _check_names(path, "output", outputs, None, {config.logits, *config.present})
    memory = ("batch", config.kv_heads, "length", config.head_size)
    for name in (config.input_ids, config.attention_mask, config.position_ids):
        if name in inputs:
            _check_value(path, inputs[name], {"int64"}, ("batch", "length"))
    for names, values in ((config.past, inputs), (config.present, outputs)):
        for name in names:
            _check_value(path, values[name], {"float32", "float16"}, memory)
    _check_value(path, outputs[config.logits], {"float32", "float16"}, ("batch", "length", config.vocabulary))
    attention = [node for node in nodes(model.graph) if node.op_type == "GroupQueryAttention"]
    _check_heads(path, attention, config)
    types = {_type(inputs[name]) for name in config.past}
    if len(types) > 1:
        raise ArtifactError(f"{path}: its key-value inputs have the types {sorted(types)}", next_step=_AGAIN)
    levels = {_integer(node, "accuracy_level", 0) for node in nodes(model.graph) if node.op_type == "MatMulNBits"}
    return Graph(
        folder=path.parent,
        source=path,
        config=config,
        cache_type=types.pop(),
        logits_type=_type(outputs[config.logits]),
        has_positions=config.position_ids in inputs,
        original_context=_original_context(path, model),
        window=max(
            (_integer(node, "local_window_size", 0) for node in attention if _integer(node, "sliding_window_cache", 0)),
            default=0,
        ),
        accuracy_levels=tuple(sorted(levels)),
        embedding=_embedding(model),
    )


def _embedding(model: ModelProto) -> str:
    """Return the type of the embedding table: a gather of quantized rows is that of its tokens."""
    gathered = [node for node in nodes(model.graph) if node.op_type == "GatherBlockQuantized"]
    return "+".join(sorted({f"int{_integer(node, 'bits', 4)}" for node in gathered})) or "float"


def _check_names(
    path: Path, what: str, found: Mapping[str, ValueInfoProto], known: set[str] | None, needed: set[str]
) -> None:
    missing = sorted(needed - set(found))
    unknown = sorted(set(found) - known, key=str) if known is not None else []  # bytes, where no UTF-8
    if missing or unknown:
        told = f"the graph lacks {missing[0]!r}" if missing else f"{NAME} does not name {unknown[0]!r}"
        raise ArtifactError(
            f"{path}: its {what}s and {NAME} do not fit: {told} "
            f"({len(missing):,} missing, {len(unknown):,} unknown of {len(found):,})",
            next_step=f"restore the {NAME} of this graph; only decoders with a key-value memory are supported",
        )


def _check_value(path: Path, value: ValueInfoProto, types: set[str], shape: Shape) -> None:
    kind, found = _type(value), _shape(value)
    if kind not in types:
        raise ArtifactError(
            f"{path}: {value.name} has the type {kind}, not {' or '.join(sorted(types))}", next_step=_AGAIN
        )
    fits = len(found) == len(shape) and all(
        isinstance(own, str) or isinstance(wanted, str) or own == wanted
        for own, wanted in zip(found, shape, strict=True)
    )
    if not fits:
        raise ArtifactError(
            f"{path}: {value.name} has the shape {_told(found)}; by {NAME} it must be {_told(shape)}",
            next_step=f"restore the {NAME} of this graph, or {_AGAIN}",
        )


def _check_heads(path: Path, attention: Sequence[NodeProto], config: GenaiConfig) -> None:
    """Compare the attention nodes' head counts; the head size is not an attribute (the trial run checks it)."""
    for node in attention:
        found = (_integer(node, "num_heads", 0), _integer(node, "kv_num_heads", 0))
        if found != (config.heads, config.kv_heads):
            raise ArtifactError(
                f"{path}: {node.name!r} has {found[0]} heads and {found[1]} key-value heads; "
                f"{NAME} says {config.heads} and {config.kv_heads}",
                next_step=f"restore the {NAME} of this graph",
            )


def _twin(graph: Graph, model: ModelProto, accuracy_level: int) -> Graph:
    products = [node for node in nodes(model.graph) if node.op_type == "MatMulNBits"]
    if not products:
        raise UnsupportedError(
            f"{graph.folder} has no 4-bit or 8-bit products with an accuracy level to set to {accuracy_level}",
            next_step="omit the accuracy level",
        )
    for node in products:
        kept = [attribute for attribute in node.attribute if attribute.name != "accuracy_level"]
        del node.attribute[:]
        node.attribute.extend(kept)
        node.attribute.add(name="accuracy_level", type="INT", i=accuracy_level)
    return replace(graph, source=model.SerializeToString(), accuracy_levels=(accuracy_level,))


def _choices(model: ModelProto) -> list[NodeProto]:
    return [node for node in nodes(model.graph) if node.op_type == "If"]


def _original_context(path: Path, model: ModelProto) -> int | None:
    """Return the length beyond which the graph takes the first branch of its choice; None if it makes none."""
    choices = _choices(model)
    found = {_threshold(model.graph, node) for node in choices}
    if None in found or len({tuple(node.input) for node in choices}) > 1:
        raise ArtifactError(
            f"{path}: it has an operator If that does not compare one length with one number: what it computes in the "
            "other case cannot be asked",
            next_step=_AGAIN,
        )
    return next(iter(found), None)


def _threshold(graph: GraphProto, choice: NodeProto) -> int | None:
    """Return the number that a length must be greater than for the choice's first branch; None if that is no number."""
    from onnx import numpy_helper

    made = next((node for node in graph.node if {*choice.input} & {*node.output}), None)
    if made is None or made.op_type != "Greater" or len(made.input) != 2:
        return None
    constants = {tensor.name: tensor for tensor in graph.initializer if tensor.data_location != 1}
    constants |= {
        name: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for name in node.output
        for attribute in node.attribute
        if attribute.name == "value"
    }
    tensor = constants.get(made.input[1])
    if tensor is None or list(tensor.dims) not in ([], [1]) or tensor.data_type not in _INTEGERS:
        return None
    try:
        return int(numpy_helper.to_array(tensor).item())
    except ValueError:  # it is cut short
        return None


def _with_long_rope(graph: Graph, model: ModelProto) -> Graph:
    if graph.original_context is None:
        raise UnsupportedError(f"{graph.folder} has one pair of rotary tables", next_step="omit long_rope")
    other = {"then_branch": "else_branch", "else_branch": "then_branch"}
    for node in _choices(model):
        for attribute in node.attribute:
            attribute.name = other.get(attribute.name, attribute.name)
    return replace(graph, source=model.SerializeToString())


def _type(value: ValueInfoProto) -> str:
    import onnx

    number = value.type.tensor_type.elem_type
    if number not in onnx.TensorProto.DataType.values():
        return f"type {number}"
    names = {1: "float32", 7: "int64", 10: "float16"}
    return names.get(number, str(onnx.TensorProto.DataType.Name(number)).lower())


def _shape(value: ValueInfoProto) -> Shape:
    return tuple(
        int(size.dim_value) if size.HasField("dim_value") else str(size.dim_param or "?")
        for size in value.type.tensor_type.shape.dim
    )


def _told(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _integer(node: NodeProto, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)

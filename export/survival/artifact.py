"""Reader for the stored weights of an artifact, rows at a time: a GGUF file or an ONNX folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from edgeproof.contracts.errors import ArtifactError, UnsupportedError
from edgeproof.contracts.gguf_header import read_header
from edgeproof.contracts.gguf_split import refuse_split
from edgeproof.export.base.mapped_file import MappedFile
from edgeproof.export.onnx.weights.places import EMBEDDING
from edgeproof.export.onnx.weights.quantize import BLOCK, block_count, code_bytes, zero_point_bytes
from edgeproof.export.onnx.weights.schemes import Precision
from edgeproof.export.survival.codecs import GgufCodec, OnnxCodec
from gguf import GGML_QUANT_SIZES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.gguf_header import GgufTensor
    from edgeproof.export.gguf.imatrix import Imatrix
    from edgeproof.export.survival.codecs import Codec, Raw
    from numpy.typing import NDArray
    from onnx import GraphProto, NodeProto, TensorProto

_PROBED_ROWS = 64
"""Number of rows whose scales distinguish float32 from llama.cpp's float16."""


class ArtifactTensor(NamedTuple):
    """A tensor of the artifact: rows and columns in numpy order, and its codec."""

    name: str
    rows: int
    columns: int
    codec: Codec


class Artifact(Protocol):
    """An artifact, by its own tensor names. `calibrated`: it was quantized with an imatrix that is not given."""

    path: Path
    tensors: Mapping[str, ArtifactTensor]
    calibrated: bool

    def read(self, name: str, start: int, stop: int) -> Raw:
        """Return rows `start` to `stop` as stored."""


def open_artifact(path: Path, imatrix: Imatrix | None = None) -> Artifact:
    """Open a GGUF file or an ONNX folder.

    Raises:
        ArtifactError: the artifact is missing, damaged, or an adapter.
        UnsupportedError: an ONNX graph has weights of unsupported types.

    """
    return OnnxArtifact(path) if path.is_dir() else GgufArtifact(path, imatrix)


class GgufArtifact:
    """A GGUF file."""

    def __init__(self, path: Path, imatrix: Imatrix | None = None) -> None:
        header = read_header(path, ArtifactError)
        refuse_split(path, ArtifactError, "the survival map")
        values = {entry.key: entry.value for entry in header.metadata}
        if values.get("general.type") == "adapter":
            raise ArtifactError(
                f"{path} is a LoRA adapter, not a model",
                next_step="give a merged artifact: an unmerged adapter is not quantized and survives as a whole",
            )
        self.path = path
        self.calibrated = "quantize.imatrix.file" in values and imatrix is None
        self._file = MappedFile(path)
        self._stored = {tensor.name: tensor for tensor in header.tensors}
        weights = imatrix.weights if imatrix else {}
        self.tensors: Mapping[str, ArtifactTensor] = {
            tensor.name: _gguf_tensor(tensor, weights.get(tensor.name)) for tensor in header.tensors
        }

    def read(self, name: str, start: int, stop: int) -> Raw:
        """Return rows `start` to `stop`, uint8 [n, bytes of a row]."""
        tensor = self._stored[name]
        block, width = GGML_QUANT_SIZES[tensor.kind]
        row = tensor.shape[-1] // block * width
        offset, count = tensor.offset + start * row, (stop - start) * row
        data = self._file.array(offset, "u1", count).copy()
        self._file.release(offset, count)
        return (data.reshape(stop - start, row),)


def _gguf_tensor(tensor: GgufTensor, importance: NDArray[np.float32] | None) -> ArtifactTensor:
    columns = tensor.shape[-1]
    rows = int(np.prod(tensor.shape[:-1], dtype=np.int64))
    fits = importance is not None and importance.size == columns and tensor.kind.name != "F32"
    weights = np.ascontiguousarray(importance, np.float32).reshape(-1) if fits and importance is not None else None
    return ArtifactTensor(tensor.name, rows, columns, GgufCodec(tensor.kind, weights))


class OnnxArtifact:
    """An ONNX folder. Tensors have the names of `onnx.weights.places`: "model.layers.0.attn.qkv_proj"."""

    def __init__(self, path: Path) -> None:
        from edgeproof.export.onnx.identify import load_graph

        self.path = path
        self.calibrated = False
        graph = load_graph(path).graph
        initializers = {item.name: item for item in graph.initializer}
        self._files: dict[str, MappedFile] = {}
        self._arrays: dict[str, tuple[NDArray[np.generic], ...]] = {}
        self.tensors: Mapping[str, ArtifactTensor] = {}
        found: dict[str, ArtifactTensor] = {}
        self._hidden = _head_columns(graph)
        for node, name, names in _matrices(graph, initializers):
            stored, arrays = self._open(node, name, names, initializers)
            found[name], self._arrays[name] = stored, arrays
        self.tensors = _with_methods(found, self._arrays)

    def read(self, name: str, start: int, stop: int) -> Raw:
        """Return rows `start` to `stop`: codes, scales, and zero points if any; or float32."""
        return tuple(array[start:stop].copy() for array in self._arrays[name])

    def _open(
        self, node: NodeProto, name: str, names: Sequence[str], initializers: Mapping[str, TensorProto]
    ) -> tuple[ArtifactTensor, tuple[NDArray[np.generic], ...]]:
        settings = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type not in {"MatMulNBits", "GatherBlockQuantized"}:
            weights = self._array(initializers[names[0]], "<f4")
            if node.op_type == "MatMul" or (node.op_type == "FusedMatMul" and not settings.get("transB")):
                weights = weights.T
            return ArtifactTensor(name, len(weights), weights.shape[1], OnnxCodec(None)), (weights,)
        if node.op_type == "GatherBlockQuantized":
            settings |= {"N": initializers[names[0]].dims[0], "K": self._hidden}
        rows, columns, bits = settings["N"], settings["K"], settings.get("bits", 4)
        if settings.get("block_size") != BLOCK or bits not in {4, 8} or len(names) not in {2, 3}:
            raise UnsupportedError(
                f"{node.name} in {self.path} has {bits} bits in blocks of {settings.get('block_size')}, with "
                f"{len(names)} stored inputs; 4 and 8 bits in blocks of {BLOCK} are supported"
            )
        width: dict[int, tuple[str, int]] = {0: ("u1", code_bytes(columns, bits)), 1: ("<f4", block_count(columns))}
        width[2] = ("u1", zero_point_bytes(columns, bits))
        arrays = []
        for number, item in enumerate(names):
            dtype, wide = width[number]
            array = self._array(initializers[item], dtype).reshape(-1)
            if array.size != rows * wide:
                raise ArtifactError(f"{item} in {self.path} has {array.size:,} values instead of {rows:,} × {wide:,}")
            arrays.append(array.reshape(rows, wide))
        codec = OnnxCodec(Precision(bits, "k_quant" if len(arrays) > 2 else "symmetric"))
        return ArtifactTensor(name, rows, columns, codec), tuple(arrays)

    def _array(self, tensor: TensorProto, dtype: str) -> NDArray[np.generic]:
        """Return a view of an initializer's values, from the file beside the graph or from the graph itself."""
        import onnx

        wanted = {"u1": onnx.TensorProto.UINT8, "<f4": onnx.TensorProto.FLOAT}[dtype]
        if tensor.data_type != wanted:
            raise UnsupportedError(f"{tensor.name} in {self.path} is stored in an unsupported type")
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return np.asarray(onnx.numpy_helper.to_array(tensor))
        where = {entry.key: entry.value for entry in tensor.external_data}
        location, offset = where["location"], int(where.get("offset", "0"))
        count = int(np.prod(list(tensor.dims), dtype=np.int64))
        size = count * np.dtype(dtype).itemsize
        if Path(location).name != location:
            raise ArtifactError(f"{tensor.name} in {self.path} lies outside the folder: {location!r}")
        if location not in self._files:
            if not (self.path / location).is_file():
                raise ArtifactError(f"{self.path / location} does not exist", next_step="copy the whole folder again")
            self._files[location] = MappedFile(self.path / location)
        if offset + size > self._files[location].size:
            raise ArtifactError(
                f"{self.path / location} ends before {tensor.name} does", next_step="copy the folder again"
            )
        return self._files[location].array(offset, dtype, count).reshape(tuple(tensor.dims))


def _matrices(graph: GraphProto, initializers: Mapping[str, TensorProto]) -> list[tuple[NodeProto, str, Sequence[str]]]:
    """Find the nodes that hold a matrix, its name from "/model/layers.0/attn/qkv_proj/MatMul_Q4", and its arrays."""
    found: list[tuple[NodeProto, str, Sequence[str]]] = []
    reshaped = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Reshape"}
    for node in graph.node:
        stored = [item for item in node.input if item in initializers]
        if not stored:
            continue
        if node.op_type in {"MatMulNBits", "MatMul", "FusedMatMul"}:
            found.append((node, node.name.rpartition("/")[0].strip("/").replace("/", "."), stored))
        elif node.op_type == "Gather" and stored[0] == f"{EMBEDDING}.weight":
            found.append((node, EMBEDDING, stored))
        elif node.op_type == "GatherBlockQuantized" and reshaped.get(node.input[0], "").startswith(EMBEDDING):
            found.append((node, EMBEDDING, [reshaped[node.input[0]], *stored]))
    return found


def _head_columns(graph: GraphProto) -> int:
    """Return the hidden size from the quantized head; 0 where the head is not quantized."""
    for node in graph.node:
        if node.op_type == "MatMulNBits" and node.name.startswith("/lm_head/"):
            return next((int(attribute.i) for attribute in node.attribute if attribute.name == "K"), 0)
    return 0


def _with_methods(
    tensors: Mapping[str, ArtifactTensor], arrays: Mapping[str, tuple[NDArray[np.generic], ...]]
) -> dict[str, ArtifactTensor]:
    """Distinguish llama.cpp's Q4_0 codes (--shared-scales) from the builder's: all their scales are float16.

    Single matrices may have such scales by chance: those of a float16 base that no adapter touches.
    """
    candidates = [
        name
        for name, tensor in tensors.items()
        if isinstance(tensor.codec, OnnxCodec)
        and tensor.codec.precision == Precision(4, "symmetric")
        and tensor.columns % BLOCK == 0
    ]
    if not all(_is_float16(arrays[name][1][:_PROBED_ROWS]) for name in candidates):
        return dict(tensors)
    shared = {name: tensors[name]._replace(codec=OnnxCodec(Precision(4, "q4_0"))) for name in candidates}
    return dict(tensors) | shared


def _is_float16(scales: NDArray[np.generic]) -> bool:
    values = scales.astype(np.float32)
    with np.errstate(over="ignore"):
        return bool(np.array_equal(values, values.astype(np.float16).astype(np.float32)))

"""Runs the user's installed onnxruntime-genai builder, for families that edgeproof does not support itself.

The merge comes first, as a float32 Hugging Face folder, so the builder does not see adapters. The builder needs torch
and transformers, loads the whole model, and alone determines the graph.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.atomic import write_failed
from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.tensors import TensorRecord
from edgeproof.export.artifact.data_file import removed_on_failure
from edgeproof.export.artifact.folder import (
    commit_folder,
    made_at,
    refuse_existing_folder,
    remove_folder,
    temporary_folder,
)
from edgeproof.export.foreign_tool import run_tool
from edgeproof.export.onnx.genai_config import MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.tensors import RowChunk

MODULE = "onnxruntime_genai.models.builder"
INTERPRETER = "EDGEPROOF_ONNX_BUILDER_PYTHON"
ARGUMENTS: Mapping[str, Sequence[str]] = {
    "onnx-int4": ("-p", "int4"),
    "onnx-int4-mixed": ("-p", "int4", "--extra_options", "algo_config=k_quant_mixed"),
    "onnx-int8": ("-p", "int8"),
    "onnx-fp32": ("-p", "fp32"),
}
"""The builder's options for each scheme."""


class BuilderWriter:
    """A `Writer` that ignores chunks: `finish` runs the builder on the merged `folder` and writes `target`.

    Args:
        folder: the merge, a float32 Hugging Face folder.
        target: the folder to write.
        scheme: "onnx-int4", ….
        inside: parent of the finished folder, which has the target's name; default: the target's parent.
        force: replace an existing artifact.

    Raises:
        OutputError: the target exists (without `force`) or is not an artifact, or its folder is read-only.

    """

    def __init__(
        self, folder: Path, target: Path, scheme: str, *, inside: Path | None = None, force: bool = False
    ) -> None:
        refuse_existing_folder(target, force=force)
        self._folder = folder
        self._target = target
        self._made = made_at(target, inside)
        self._scheme = scheme
        self._force = force
        try:
            self._temporary = temporary_folder(self._made)
        except OSError as error:
            raise write_failed(target, error) from error

    def write(self, chunk: RowChunk) -> None:
        """Ignore the chunk: the builder reads the merged folder."""

    def finish(self) -> tuple[TensorRecord, ...]:
        """Run the builder and rename its output to the final name.

        Raises:
            InputError: the builder's interpreter does not start.
            UnsupportedError: the builder failed; the message has its last output.
            OutputError: the disk is full, or the target was created in the meantime.

        """
        with removed_on_failure(self.abort, partial(write_failed, self._target)):
            run_builder(self._folder, self._temporary, self._scheme)
            records = read_records(self._temporary / MODEL_FILE)
            commit_folder(self._temporary, self._made, force=self._force)
        return records

    def abort(self) -> None:
        """Remove the temporary folder; does nothing after `finish`."""
        remove_folder(self._temporary)


def run_builder(folder: Path, out: Path, scheme: str) -> None:
    """Build the Hugging Face folder `folder` into the empty folder `out`.

    The interpreter is $EDGEPROOF_ONNX_BUILDER_PYTHON, or the running one; it needs onnxruntime-genai, torch and
    transformers.

    Raises:
        InputError: the interpreter does not start.
        UnsupportedError: the builder failed; the message has its last output.
    """
    cache = folder.with_name(f"{folder.name}-cache")
    places = ("-i", str(folder.resolve()), "-o", str(out.resolve()), "-c", str(cache.resolve()))
    ended = run_tool(
        "the builder",
        INTERPRETER,
        "onnxruntime-genai, torch and transformers",
        ("-P", "-m", MODULE, *places, "-e", "cpu", *ARGUMENTS[scheme]),
        environment={"ORT_DISABLE_TELEMETRY": "1"},
    )
    if ended.code != 0 or not (out / MODEL_FILE).is_file():
        raise UnsupportedError(
            f"onnxruntime-genai's builder ended with exit code {ended.code} and no {MODEL_FILE}; its last output:\n"
            f"{ended.words}",
            next_step=f"pip install onnxruntime-genai torch transformers; or name a Python with them in {INTERPRETER}",
        )


def read_records(path: Path) -> tuple[TensorRecord, ...]:
    """List the arrays of the graph at `path`: quantized matrices by their logical shapes, and every other array."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    sizes = {tensor.name: _bytes(tensor) for tensor in graph.initializer}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    records: list[TensorRecord] = []
    quantized: set[str] = set()
    for node in graph.node:
        if node.op_type == "MatMulNBits" and node.input[1] not in quantized:
            values = {attribute.name: attribute.i for attribute in node.attribute}
            arrays = [name for name in node.input[1:4] if name]
            quantized.update(arrays)
            size = sum(sizes[name] for name in arrays)
            records.append(TensorRecord(node.input[1], (values["N"], values["K"]), f"int{values.get('bits', 4)}", size))
    others = sorted(name for name in sizes.keys() - quantized if not name.startswith(("cos_cache", "sin_cache")))
    return (*records, *(TensorRecord(name, shapes[name], "float32", sizes[name]) for name in others))


def _bytes(tensor: object) -> int:
    import onnx

    assert isinstance(tensor, onnx.TensorProto)
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    size: int = math.prod(tensor.dims) * kind.itemsize
    return size

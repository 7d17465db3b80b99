"""Check of a GGUF for NaN and infinite values, in floats and in block scales.

llama.cpp loads such a file, and its rounding of activations can hide them, so that an answer looks forgotten.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.gguf_header import read_header
from edgeproof.contracts.gguf_split import split_parts
from gguf.constants import GGML_QUANT_SIZES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK_BYTES = 2**25


def refuse_non_finite(path: Path, beat: Callable[[], None]) -> None:
    """Check every tensor of the GGUF at `path`, including all parts, by llama.cpp's rules (`ggml_validate_row_data`).

    Args:
        path: a model or a LoRA.
        beat: called after each part.

    Raises:
        ArtifactError: a tensor holds such a value; the message names the first one.

    """
    from llama_cpp._ggml import libggml

    validate = libggml.ggml_validate_row_data
    validate.restype, validate.argtypes = ctypes.c_bool, [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    for part in split_parts(path, ArtifactError):
        _check_part(part, validate, beat)


def _check_part(path: Path, validate: Callable[[int, int, int], bool], beat: Callable[[], None]) -> None:
    data = np.memmap(path, np.uint8, "r")
    for tensor in read_header(path, ArtifactError, text_errors="surrogateescape").tensors:
        width = GGML_QUANT_SIZES[tensor.kind][1]
        step = CHUNK_BYTES // width * width
        for start in range(tensor.offset, tensor.offset + tensor.bytes, step):
            count = min(step, tensor.offset + tensor.bytes - start)
            if not validate(int(tensor.kind), data.ctypes.data + start, count):
                raise ArtifactError(
                    f"{path}: the tensor {tensor.name} ({tensor.kind.name}) holds NaN or infinite numbers: it is "
                    "damaged or manipulated",
                    next_step="export it again; if the merge is not finite either, check the adapter's weights",
                )
            beat()

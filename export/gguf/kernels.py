"""Bindings to llama.cpp's quantization kernels in the library that llama-cpp-python ships.

The library is `libggml-base`; it is found without importing `llama_cpp`. ctypes releases the GIL during each call, so
threads quantize in parallel. Sizes and names: `ggml/include/ggml.h` of llama.cpp.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from edgeproof.contracts.errors import EdgeproofError
from gguf import GGMLQuantizationType

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Float32Array
    from numpy.typing import NDArray

LIBRARY_NAMES = ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll")

WRITABLE = frozenset(
    GGMLQuantizationType[name]
    for name in [
        "F32",
        "F16",
        "BF16",
        "Q4_0",
        "Q4_1",
        "Q5_0",
        "Q5_1",
        "Q8_0",
        "Q2_K",
        "Q3_K",
        "Q4_K",
        "Q5_K",
        "Q6_K",
        "IQ1_S",
        "IQ1_M",
        "IQ2_XXS",
        "IQ2_XS",
        "IQ2_S",
        "IQ3_XXS",
        "IQ3_S",
        "IQ4_NL",
        "IQ4_XS",
        "TQ1_0",
        "TQ2_0",
    ]
)
"""Types of weights that `ggml_quantize_chunk` writes."""


@functools.cache
def library() -> ctypes.CDLL:
    """Load `libggml-base` and declare the functions used.

    Raises:
        EdgeproofError: llama-cpp-python is not installed, or its library is not found.

    """
    spec = importlib.util.find_spec("llama_cpp")
    folders = [Path(folder) / "lib" for folder in (spec.submodule_search_locations or ())] if spec else []
    found = [folder / name for folder in folders for name in LIBRARY_NAMES if (folder / name).is_file()]
    if not found:
        where = ", ".join(map(str, folders)) or "no installed llama_cpp"
        raise EdgeproofError(
            f"llama.cpp's library ggml-base was not found (looked in: {where})",
            next_step="install it: pip install 'llama-cpp-python>=0.3.36'",
        )
    base = ctypes.CDLL(str(found[0]))
    kind, rows = ctypes.c_int, ctypes.c_int64
    for name, result, arguments in (
        ("ggml_blck_size", ctypes.c_int64, [kind]),
        ("ggml_row_size", ctypes.c_size_t, [kind, ctypes.c_int64]),
        ("ggml_quantize_init", None, [kind]),
        ("ggml_quantize_requires_imatrix", ctypes.c_bool, [kind]),
        (
            "ggml_quantize_chunk",
            ctypes.c_size_t,
            [kind, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, rows, ctypes.c_int64, ctypes.c_void_p],
        ),
        ("ggml_validate_row_data", ctypes.c_bool, [kind, ctypes.c_void_p, ctypes.c_size_t]),
        ("ggml_version", ctypes.c_char_p, []),
        ("ggml_commit", ctypes.c_char_p, []),
    ):
        function = getattr(base, name)
        function.restype, function.argtypes = result, arguments
    return base


def kernel_version() -> str:
    """Return version and commit of the quantizing ggml, for the manifest."""
    base = library()
    return f"ggml {base.ggml_version().decode()} ({base.ggml_commit().decode()})"


@functools.cache
def block_size(kind: GGMLQuantizationType) -> int:
    """Return the weights per block of `kind` (1, 32 or 256); a row's length must be a multiple of it."""
    return cast("int", library().ggml_blck_size(kind))


@functools.cache
def row_bytes(kind: GGMLQuantizationType, columns: int) -> int:
    """Return the bytes of a row of `columns` weights; `columns` must be a multiple of `block_size(kind)`."""
    return cast("int", library().ggml_row_size(kind, columns))


def needs_importance(kind: GGMLQuantizationType) -> bool:
    """Whether the kernel of `kind` requires an importance matrix."""
    return cast("bool", library().ggml_quantize_requires_imatrix(kind))


def quantize(
    kind: GGMLQuantizationType, rows: Float32Array, importance: Float32Array | None = None
) -> NDArray[np.uint8]:
    """Quantize `rows`, float32 [n, columns], to bytes [n, row_bytes(kind, columns)].

    `importance` weights the columns, float32 [columns]. A row's bytes do not depend on other rows. Thread-safe;
    releases the GIL. `rows` must be finite (`is_valid`).
    """
    count, columns = rows.shape
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    stored = np.empty((count, row_bytes(kind, columns)), dtype=np.uint8)
    weights = None if importance is None else importance.ctypes.data
    written = library().ggml_quantize_chunk(kind, rows.ctypes.data, stored.ctypes.data, 0, count, columns, weights)
    if written != stored.nbytes:
        raise EdgeproofError(f"ggml wrote {written:,} bytes of {kind.name} where {stored.nbytes:,} were expected")
    return stored


def is_valid(kind: GGMLQuantizationType, stored: NDArray[np.generic]) -> bool:
    """Whether no weight or scale in contiguous `stored` is NaN or infinite, by llama.cpp's check."""
    return cast("bool", library().ggml_validate_row_data(kind, stored.ctypes.data, stored.nbytes))

"""The quantizers give onnxruntime's bytes: MLAS's for the symmetric one, `quant_tensor_k_quant_cpu`'s for the other."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.export.onnx.weights.quantize import (
    BLOCK,
    block_count,
    code_bytes,
    quantize_k_quant,
    quantize_symmetric,
    zero_point_bytes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = ("normal", "on the grid", "positive", "constant rows", "zero rows", "denormal", "large")


def weights(kind: str, columns: int, *, seed: int = 0, count: int = 64) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.normal(0, 0.02, (count, columns)).astype(np.float32)
    if kind == "on the grid":  # every rounding is a tie or exact
        return (random.integers(-16, 16, values.shape) / 2).astype(np.float32)
    if kind == "positive":
        return np.abs(values)
    if kind == "constant rows":
        values[::3] = values[::3, :1]
    if kind == "zero rows":
        values[::3] = 0
    if kind == "denormal":
        values = (values * np.float32(1e-36)).astype(np.float32)
    if kind == "large":
        values = values * np.float32(1e30)
    return values


def mlas(rows: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The kernel that onnxruntime's `DefaultWeightOnlyQuantizer` calls, as it calls it."""
    state = pytest.importorskip("onnxruntime.capi._pybind_state")
    count, columns = rows.shape
    blocks = block_count(columns)
    filled = np.pad(rows, ((0, 0), (0, blocks * BLOCK - columns))).T.copy()
    codes = np.zeros((count, blocks, BLOCK * bits // 8), np.uint8)
    scales = np.zeros((count, blocks), np.float32)
    zeros = np.zeros((count, -(-blocks * bits // 8)), np.uint8)
    kernel = state.quantize_matmul_4bits if bits == 4 else state.quantize_matmul_8bits
    kernel(codes, filled, scales, zeros, BLOCK, count, columns, True)  # noqa: FBT003 (symmetric)
    return codes.reshape(count, -1), scales


@pytest.mark.parametrize("columns", [576, 80, 32, 34])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [4, 8])
def test_symmetric_bytes_are_those_of_onnxruntimes_kernel(bits, kind, columns):
    rows = weights(kind, columns)
    codes, scales = mlas(rows, bits)
    found = quantize_symmetric(rows, bits)
    np.testing.assert_array_equal(found.codes, codes)
    np.testing.assert_array_equal(found.scales, scales)
    assert found.zero_points is None


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), blocks=st.integers(1, 5), kind=st.sampled_from(KINDS), bits=st.sampled_from([4, 8])
)
def test_symmetric_bytes_are_the_kernels_for_any_weights(seed, blocks, kind, bits):
    rows = weights(kind, blocks * BLOCK, seed=seed, count=16)
    codes, scales = mlas(rows, bits)
    found = quantize_symmetric(rows, bits)
    np.testing.assert_array_equal(found.codes, codes)
    np.testing.assert_array_equal(found.scales, scales)


@pytest.mark.parametrize("columns", [576, 80, 32])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {"denormal", "large"}])
@pytest.mark.parametrize("bits", [4, 8])
def test_k_quant_is_onnxruntimes(bits, kind, columns):
    module = pytest.importorskip("onnxruntime.quantization.neural_compressor.weight_only")
    rows = weights(kind, columns, count=130)
    filled = np.pad(rows, ((0, 0), (0, block_count(columns) * BLOCK - columns)))
    with np.errstate(all="ignore"):
        values, scales, zeros = module.quant_tensor_k_quant_cpu(filled, bits, BLOCK)
    found = quantize_k_quant(rows, bits)
    np.testing.assert_array_equal(unpacked(found.codes, bits), values.astype(np.uint8).reshape(len(rows), -1))
    np.testing.assert_array_equal(found.scales, scales.astype(np.float32).reshape(len(rows), -1))
    stored = unpacked(found.zero_points, bits)[:, : block_count(columns)]
    np.testing.assert_array_equal(stored, zeros.reshape(len(rows), -1))


@pytest.mark.parametrize("quantize", [quantize_symmetric, quantize_k_quant])
@pytest.mark.parametrize("columns", [576, 80])
@pytest.mark.parametrize("bits", [4, 8])
def test_rows_do_not_depend_on_the_rows_around_them(bits, columns, quantize):
    rows = weights("normal", columns, count=1500)
    whole = quantize(rows, bits)
    for start, stop in ((0, 1), (700, 1333), (1499, 1500)):
        part = quantize(rows[start:stop], bits)
        for found, expected in zip(part, whole, strict=True):
            if expected is not None:
                np.testing.assert_array_equal(found, expected[start:stop])


def test_sizes_follow_from_the_number_of_columns():
    for columns in (1, 31, 32, 33, 96, 576):
        for bits in (4, 8):
            found = quantize_k_quant(weights("normal", columns, count=3), bits)
            assert found.codes.shape == (3, code_bytes(columns, bits))
            assert found.scales.shape == (3, block_count(columns))
            assert found.zero_points.shape == (3, zero_point_bytes(columns, bits))


def test_an_odd_number_of_zero_points_is_filled_up_within_its_row():
    found = quantize_k_quant(weights("normal", 96), 4)
    assert found.zero_points.shape == (64, 2)
    assert set(found.zero_points[:, 1] >> 4) == {8}


def unpacked(stored: np.ndarray, bits: int) -> np.ndarray:
    if bits == 8:
        return stored
    return np.stack([stored & 15, stored >> 4], axis=-1).reshape(len(stored), -1)

"""Rope tables are torch's, but for the last bit of a frequency, in which processors differ."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edgeproof.export.architectures import read_hyper_parameters
from edgeproof.export.onnx.graph.rope import ROWS, RopeTable, rope_tables
from edgeproof_tests.export.onnx.conftest import torch_model

pytestmark = pytest.mark.torch

VARIANTS = (
    "llama",
    "llama3",
    "llama-linear",
    "llama-yarn",
    "qwen2-yarn",
    "phi3-partial",
    "phi3-longrope",
    "gemma3-linear",
)


def torch_tables(model, positions: int, layer_type: str | None):
    import torch

    rotary = model.get_decoder().rotary_emb
    more = {"layer_type": layer_type} if layer_type else {}
    cos, sin = rotary(torch.zeros(1, 1), torch.arange(positions)[None], **more)
    half = cos.shape[-1] // 2
    return cos[0, :, :half].numpy(), sin[0, :, :half].numpy()


@pytest.mark.parametrize("variant", VARIANTS)
def test_cos_and_sin_are_torchs_with_frequencies_a_last_bit_off_at_most(variant, tiny):
    folder = tiny(variant)
    model = torch_model(folder)
    parameters = read_hyper_parameters(json.loads((folder / "config.json").read_text()))
    pairs = [(rope_tables(parameters.rope, parameters.context_length), None)]
    if parameters.local_rope is not None:
        pairs = [
            (rope_tables(rope, parameters.context_length), kind)
            for rope, kind in ((parameters.rope, "full_attention"), (parameters.local_rope, "sliding_attention"))
        ]
    for tables, kind in pairs:
        for table in tables:
            for ours, theirs in zip(all_rows(table), torch_tables(model, table.length, kind), strict=True):
                assert np.all(np.abs(ours - theirs) <= allowed(table))


def allowed(table: RopeTable):
    """The largest difference [positions, frequencies] between tables whose frequencies differ in the last bit.

    The angle then differs by position times that bit, and once more by the rounding of the product.
    """
    positions = np.arange(table.length, dtype=np.float64)[:, None]
    angles = positions * np.spacing(table.frequencies) + np.spacing((positions * table.frequencies).astype(np.float32))
    return table.scale * (angles + 2e-7)


def all_rows(table: RopeTable):
    cos, sin = zip(*table.rows(), strict=True)
    return np.concatenate(cos), np.concatenate(sin)


def test_a_long_table_comes_in_pieces():
    table = RopeTable(np.array([1.0, 0.01], np.float32), 2 * ROWS + 5, 1.0)
    pieces = list(table.rows())
    assert [len(cos) for cos, _ in pieces] == [ROWS, ROWS, 5]
    assert pieces[2][0][0, 0] == np.float32(np.cos(np.float64(2 * ROWS)))

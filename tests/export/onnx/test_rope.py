"""Rope tables are torch's: frequencies to the bit or nearly, cos and sin to the last one."""

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
def test_cos_and_sin_are_torchs_to_the_last_bit(variant, tiny):
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
                # An angle of up to 512 rad has 5e-5 in its last bit, which a frequency that is one bit off shows.
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-7 if exact(variant) else 6e-5)


def exact(variant: str) -> bool:
    """Whether every frequency equals torch's; of Gemma 3's 64, one is a last bit off."""
    return variant != "gemma3-linear"


def all_rows(table: RopeTable):
    cos, sin = zip(*table.rows(), strict=True)
    return np.concatenate(cos), np.concatenate(sin)


def test_a_long_table_comes_in_pieces():
    table = RopeTable(np.array([1.0, 0.01], np.float32), 2 * ROWS + 5, 1.0)
    pieces = list(table.rows())
    assert [len(cos) for cos, _ in pieces] == [ROWS, ROWS, 5]
    assert pieces[2][0][0, 0] == np.float32(np.cos(np.float64(2 * ROWS)))

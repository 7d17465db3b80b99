"""The survival map in a report: what the manifest says, laid out by layers; damaged, it stops the gate."""

from __future__ import annotations

import copy

import pytest
from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.survival import parse_survival
from edgeproof.eval.report.survival import heat_map, read_survival


def tensor(name, layer, projection, error=0.02):
    return {"name": name, "layer": layer, "projection": projection, "projection_error": error}


TABLE = {
    "projection": 0.61,
    "projection_error": 0.01,
    "codes_moved": 0.02,
    "sampled": 4096,
    "tensors": [
        tensor("model.layers.1.self_attn.q_proj.weight", 1, 0.92),
        tensor("model.layers.1.mlp.experts.0.up_proj.weight", 1, 0.2),
        tensor("model.layers.1.mlp.experts.1.up_proj.weight", 1, 0.4, 0.04),
        tensor("model.layers.0.self_attn.q_proj.weight", 0, -0.03),
        tensor("lm_head.weight", None, 1.04),
    ],
}


def test_rows_are_layers_in_order_and_columns_are_kinds_of_tensors():
    found = heat_map(read_survival({"survival": TABLE}))
    assert found.kinds == ("self_attn.q_proj", "mlp.experts.up_proj")
    assert [layer for layer, _ in found.rows] == [0, 1]
    (low, nothing), (high, experts) = (cells for _, cells in found.rows)
    assert (low.projection, nothing, high.projection) == (-0.03, None, 0.92)
    assert experts.projection == pytest.approx(0.3)
    assert experts.error == pytest.approx((0.02**2 + 0.04**2) ** 0.5 / 2)
    assert [item.name for item in found.outside] == ["lm_head.weight"]
    assert found.lost == 3
    assert found.worst.name == "model.layers.0.self_attn.q_proj.weight"


def test_a_ggufs_names_are_laid_out_the_same():
    table = TABLE | {"tensors": [tensor("blk.12.attn_q.weight", 12, 0.5), tensor("token_embd.weight", None, 0.5)]}
    found = heat_map(read_survival({"survival": table}))
    assert (found.kinds, found.rows[0][0], found.outside[0].name) == (("attn_q",), 12, "token_embd.weight")


def test_what_is_written_is_read_back():
    found = read_survival({"survival": TABLE})
    assert found.to_json() == TABLE
    assert parse_survival(found.to_json()) == found


@pytest.mark.parametrize("manifest", [None, {}, {"survival": None}, {"survival": {"projection": 0.9, "sampled": 4}}])
def test_where_the_manifest_says_nothing_there_is_no_map(manifest):
    assert read_survival(manifest) is None


def test_a_sample_without_a_tensor_is_no_map():
    assert read_survival({"survival": TABLE | {"tensors": []}}) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t.pop("projection"),
        lambda t: t.update(projection=None),
        lambda t: t.update(projection=float("nan")),
        lambda t: t.update(sampled=-1),
        lambda t: t.update(codes_moved="0.1"),
        lambda t: t.update(tensors="none"),
        lambda t: t.update(tensors=[1]),
        lambda t: t["tensors"][0].update(layer=True),
        lambda t: t["tensors"][0].update(layer=-1),
        lambda t: t["tensors"][0].update(name=""),
        lambda t: t["tensors"][0].update(projection=float("inf")),
        lambda t: t["tensors"][0].pop("projection_error"),
    ],
)
def test_a_damaged_map_is_refused(spoil):
    table = copy.deepcopy(TABLE)
    spoil(table)
    with pytest.raises(ArtifactError, match="its survival map has"):
        read_survival({"survival": table})
    with pytest.raises(ArtifactError):
        read_survival({"survival": []})

"""Weights on modules that target_modules does not name: peft leaves them out, edgeproof refuses the adapter."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from edgeproof.contracts.errors import AdapterError
from edgeproof.export.adapter.load import load_adapter
from edgeproof_tests.export.conftest import ALL_LINEAR, load, peft_merge

pytestmark = pytest.mark.torch


def with_config(adapter, target, **changes):
    shutil.copytree(adapter, target)
    config = json.loads((target / "adapter_config.json").read_text())
    (target / "adapter_config.json").write_text(json.dumps(config | changes))
    return target


def merged_by_peft(base, adapter):
    """The modules whose weights peft's merge changes."""
    before, after = load(base).state_dict(), peft_merge(base, [adapter])
    return {name.removesuffix(".weight") for name, value in after.items() if not np.array_equal(value, before[name])}


CHANGES = {
    "one of seven": {"target_modules": ["q_proj"]},
    "a pattern": {"target_modules": r".*(?<!self_attn)\.(gate|up|down)_proj"},
    "excluded": {"target_modules": ALL_LINEAR, "exclude_modules": ["down_proj"]},
    "all of them": {"target_modules": ALL_LINEAR},
    "all by a pattern": {"target_modules": r"model\.layers\.\d+\..*_proj"},
    "whole names": {"target_modules": ["self_attn.q_proj", "k_proj", "v_proj", "o_proj", *ALL_LINEAR[4:]]},
    "all-linear": {"target_modules": "all-linear"},
}


@pytest.mark.parametrize("case", CHANGES)
def test_an_adapter_is_taken_where_peft_merges_all_of_its_weights_and_no_other(base, make_adapter, tmp_path, case):
    trained = make_adapter(base)
    adapter = with_config(trained, tmp_path / "adapter", **CHANGES[case])
    held = load_adapter(trained).low_rank.keys()
    left_out = held - merged_by_peft(base, adapter)
    if not left_out:
        assert load_adapter(adapter).low_rank.keys() == held
        return
    with pytest.raises(AdapterError, match="peft leaves them out") as caught:
        load_adapter(adapter)
    assert f"{len(left_out)} of them, {min(left_out)} first" in str(caught.value)


def test_the_cases_are_of_both_kinds(base, make_adapter, tmp_path):
    trained = make_adapter(base)
    named = with_config(trained, tmp_path / "named", **CHANGES["one of seven"])
    assert merged_by_peft(base, named) == {"model.layers.0.self_attn.q_proj"}
    assert len(merged_by_peft(base, trained)) == 7

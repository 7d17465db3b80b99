"""Inputs on which a run would take for ever are refused at once, or are read in bounded time."""

from __future__ import annotations

import json
import shutil

import pytest
from edgeproof.contracts.errors import AdapterError, CheckpointError
from edgeproof.contracts.progress import Silent
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.pipeline import export
from edgeproof_tests.bounded import bounded

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def bounds():
    with bounded(kib=200_000):
        yield


def copy_of(folder, target, name, **changes):
    shutil.copytree(folder, target)
    config = json.loads((target / name).read_text())
    (target / name).write_text(json.dumps(config | changes))
    return target


@pytest.mark.parametrize("form", ["gguf-q8_0", "onnx-int4"])
@pytest.mark.parametrize("key", ["vocab_size", "num_hidden_layers"])
def test_a_count_that_the_weights_cannot_have_is_refused(base, tmp_path, form, key):
    broken = copy_of(base, tmp_path / "broken", "config.json", **{key: 10**9})
    with pytest.raises(CheckpointError, match=rf"{key} = 1,000,000,000"):
        export(broken, [], [form], tmp_path / "out", progress=Silent(), threads=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["alpha_pattern", "rank_pattern"])
def test_an_adapters_pattern_is_matched_in_bounded_time(base, make_adapter, tmp_path, option):
    value = {"alpha_pattern": 4.0, "rank_pattern": 4}[option]
    changes = {option: {r"(\w+\.?)+!": value}}
    endless = copy_of(make_adapter(base), tmp_path / "endless", "adapter_config.json", **changes)
    assert load_adapter(endless).low_rank.keys() == load_adapter(make_adapter(base)).low_rank.keys()


@pytest.mark.parametrize("pattern", [r"(q)\1", "(" * 3000 + ")" * 3000, "q{99999999999}"])
def test_a_pattern_that_cannot_be_matched_is_named(base, make_adapter, tmp_path, pattern):
    changes = {"alpha_pattern": {pattern: 4.0}}
    broken = copy_of(make_adapter(base), tmp_path / "broken", "adapter_config.json", **changes)
    with pytest.raises(AdapterError, match=r"alpha_pattern .* is not a regular expression"):
        load_adapter(broken)

"""An unmerged adapter is what llama.cpp's own converter writes, but for the scale, which is PEFT's for every kind."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from edgeproof.contracts.backend import ScoreRequest
from edgeproof.contracts.errors import AdapterError, OutputError, UnsupportedError
from edgeproof.contracts.progress import Silent
from edgeproof.export.pipeline import Exported, ExportOptions, export
from edgeproof.runtime import open_backend
from edgeproof_tests.models import save_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

SMALL = {"hidden_size": 64, "intermediate_size": 128}


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def base(request, tmp_path_factory) -> Path:
    """Llama's q and k rows are permuted in a GGUF, Qwen's are not."""
    return save_model(request.param, tmp_path_factory.mktemp(request.param) / "tiny", **SMALL)


def unmerged(base: Path, adapters: list[Path], out: Path, form: str = "gguf-f32", **options: Any) -> Exported:
    chosen = ExportOptions(unmerged=True)
    (item,) = export(base, adapters, [form], out, chosen, threads=1, progress=Silent(), **options)
    return item


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from gguf import GGUFReader

    reader = GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    return {tensor.name: np.array(tensor.data) for tensor in reader.tensors}, fields


def convert_officially(official, base: Path, adapter: Path, target: Path) -> Path:
    script = official.source.tree / "convert_lora_to_gguf.py"
    command = [sys.executable, str(script), "--base", str(base), "--outfile", str(target), "--outtype", "f32"]
    run = subprocess.run(
        [*command, str(adapter)],
        capture_output=True,
        text=True,
        check=False,
        cwd=official.source.tree,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return target


REQUESTS = [
    ScoreRequest(tuple(row[:4]), tuple(row[4:])) for row in np.random.default_rng(3).integers(5, 250, (6, 16)).tolist()
]


def in_llama_cpp(artifact: Path, lora: Path | None = None) -> np.ndarray:
    with open_backend("llama.cpp", artifact, lora=lora, threads=1) as engine:
        return np.concatenate([score.logprobs for score in engine.score(REQUESTS)])


def in_torch(base: Path, adapter: Path | None = None) -> np.ndarray:
    """peft's own forward pass, here in this process: torch takes seconds to import."""
    from edgeproof.runtime.torch_reference import TorchReference

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = TorchReference(base, lora=adapter, threads=1, beat=lambda: None)
        return np.concatenate([score.logprobs for score in engine.score(REQUESTS)])


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference in nat per token."""
    return float(np.abs(one - other).mean())


@pytest.mark.official
def test_factors_are_the_official_converters_with_the_scale_in_b(official, base, make_adapter, tmp_path):
    adapter = make_adapter(base, r=8, lora_alpha=16)
    item = unmerged(base, [adapter], tmp_path)
    ours, fields = read(item.lora)
    theirs, reference = read(convert_officially(official, base, adapter, tmp_path / "official.gguf"))
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        expected = values * np.float32(2) if name.endswith("lora_b") else values
        np.testing.assert_array_equal(ours[name], expected, err_msg=name)
    assert reference.pop("adapter.lora.alpha") == 16
    for key in ("general.architecture", "general.type", "adapter.type"):
        assert fields[key] == reference[key]
    assert "adapter.lora.alpha" not in fields


@pytest.mark.official
def test_rslora_is_scaled_as_peft_does_where_the_official_converter_does_not(official, base, make_adapter, tmp_path):
    adapter = make_adapter(base, r=16, lora_alpha=16, use_rslora=True)
    item = unmerged(base, [adapter], tmp_path)
    theirs = convert_officially(official, base, adapter, tmp_path / "official.gguf")
    truth = in_torch(base, adapter)
    assert distance(in_torch(base), truth) > 0.1, "the adapter hardly matters"
    assert distance(in_llama_cpp(item.path, item.lora), truth) < 0.01
    assert distance(in_llama_cpp(item.path, theirs), truth) > 0.1, "it is mended: say so in the documents"


@pytest.mark.parametrize(
    "options",
    [
        {"r": 8, "lora_alpha": 16},
        {"r": 8, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"down_proj": 40}},
        {"r": 9, "lora_alpha": 7, "use_rslora": True, "dtype": "float16"},
    ],
    ids=["plain", "patterns", "odd rank in float16"],
)
def test_base_and_adapter_in_llama_cpp_score_as_peft_in_torch(options, base, make_adapter, tmp_path):
    adapter = make_adapter(base, **options)
    item = unmerged(base, [adapter], tmp_path)
    truth = in_torch(base, adapter)
    assert distance(in_torch(base), truth) > 0.05
    assert distance(in_llama_cpp(item.path, item.lora), truth) < 0.01


def test_several_adapters_in_one_file_score_as_merged(base, make_adapter, tmp_path):
    adapters = [
        make_adapter(base, seed=1, r=4, lora_alpha=16, use_rslora=True),
        make_adapter(base, seed=2, r=8, lora_alpha=4, target_modules=["q_proj", "up_proj"]),
    ]
    item = unmerged(base, adapters, tmp_path / "beside")
    (merged,) = export(base, adapters, ["gguf-f32"], tmp_path / "merged", threads=1, progress=Silent())
    (first,) = export(base, adapters[:1], ["gguf-f32"], tmp_path / "first", threads=1, progress=Silent())
    truth = in_llama_cpp(merged.path)
    assert distance(in_llama_cpp(first.path), truth) > 0.05
    assert distance(in_llama_cpp(item.path, item.lora), truth) < 0.001
    assert len(read(item.lora)[0]) == 2 * 14


def test_the_base_beside_it_is_the_base_alone(base, make_adapter, tmp_path):
    item = unmerged(base, [make_adapter(base)], tmp_path / "beside", "gguf-q8_0")
    (alone,) = export(base, [], ["gguf-q8_0"], tmp_path / "alone", threads=1, progress=Silent())
    assert item.path.read_bytes() == alone.path.read_bytes()
    assert item.path.name == alone.path.name
    assert item.manifest.adapters == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["embed_tokens"], "target_modules": ["q_proj"]}, "replaces model.embed_tokens"),
        ({"target_modules": ["embed_tokens"]}, "changes the embedding"),
    ],
    ids=["DoRA", "modules_to_save", "embedding"],
)
def test_what_the_form_cannot_hold_is_refused_and_nothing_is_written(options, message, base, make_adapter, tmp_path):
    adapter = make_adapter(base, **options)
    with pytest.raises(UnsupportedError, match=message) as refused:
        unmerged(base, [adapter], tmp_path / "out")
    assert "without --unmerged" in refused.value.next_step
    assert list((tmp_path / "out").iterdir()) == []


def test_an_adapter_of_another_shape_is_refused(base, make_adapter, tmp_path):
    other = save_model("llama", tmp_path / "other", hidden_size=128, intermediate_size=128)
    with pytest.raises(AdapterError, match="another base"):
        unmerged(base, [make_adapter(other)], tmp_path / "out")


def test_an_existing_adapter_file_needs_force(base, make_adapter, tmp_path):
    adapter = make_adapter(base)
    item = unmerged(base, [adapter], tmp_path)
    before = item.lora.read_bytes()
    item.path.unlink()
    with pytest.raises(OutputError, match=r"adapter-lora\.gguf exists"):
        unmerged(base, [adapter], tmp_path)
    assert not item.path.exists()
    assert unmerged(base, [adapter], tmp_path, force=True).lora.read_bytes() == before

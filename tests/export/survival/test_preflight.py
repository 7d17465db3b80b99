"""The warning before an export: given where the file will have lost the adapter, and only there."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.export import pipeline
from edgeproof.export.base.gguf_file import GgufBase
from edgeproof.export.gguf import kernels
from edgeproof.export.pipeline import ExportOptions, export
from edgeproof.export.survival.codecs import GgufCodec, OnnxCodec
from edgeproof.export.survival.measure import survival_map
from edgeproof.export.survival.preflight import Preflight, loss_warning, usual_rounding
from edgeproof_tests.models import save_model
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torch, pytest.mark.blas]

FORMATS = ("gguf-q4", "gguf-q4_0", "gguf-q4_1", "gguf-iq4_nl", "gguf-q8_0", "gguf-f16", "onnx-int4", "onnx-int8")
ON_Q4_0 = {"gguf-q4_0", "onnx-int4", "onnx-int8"}
"""Formats on whose grid Q4_0's weights lie: onnx-int8 cuts the same range in 16 times as many steps. Q8_0 cuts it in
127 steps instead of 128, and so swallows nothing."""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_model("qwen3", tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def gridded(base, tmp_path_factory) -> Path:
    """The base with the matrices of its layers rounded to Q4_0 by llama.cpp."""
    import shutil

    from edgeproof.export.gguf import kernels
    from safetensors.numpy import load_file, save_file

    out = tmp_path_factory.mktemp("gridded") / "tiny"
    shutil.copytree(base, out)
    tensors = load_file(out / "model.safetensors")
    for name, values in tensors.items():
        if "proj" in name:
            stored = kernels.quantize(T.Q4_0, values)
            tensors[name] = dequantize(stored, T.Q4_0).reshape(values.shape).astype(np.float32)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


@pytest.fixture(scope="module")
def adapter(base, make_adapter, tmp_path_factory) -> Path:
    """‖ΔW‖/‖W‖ of about 0.2 %, as unlearning makes them."""
    from safetensors.numpy import load_file, save_file

    whole = make_adapter(base)
    (item,) = export(base, [whole], ["gguf-f16"], tmp_path_factory.mktemp("whole"), threads=1, progress=Silent())
    factor = np.float32(0.002 / item.manifest.adapter_effect)
    out = tmp_path_factory.mktemp("weak") / "adapter"
    out.mkdir()
    (out / "adapter_config.json").write_bytes((whole / "adapter_config.json").read_bytes())
    tensors = load_file(whole / "adapter_model.safetensors")
    scaled = {name: values * factor if "lora_B" in name else values for name, values in tensors.items()}
    save_file(scaled, out / "adapter_model.safetensors")
    return out


def warned(listener: Silent) -> set[str]:
    return {
        text.split(" to ")[1].split(",")[0] for text in listener.warnings if "would survive the rounding to" in text
    }


def run(base: Path, adapter: Path, out: Path, *formats: str, **options: bool) -> tuple[dict[str, Path], Silent]:
    listener = Silent()
    items = export(base, [adapter], formats, out, ExportOptions(**options), threads=1, progress=listener)
    return {item.format: item.path for item in items}, listener


def test_people_are_warned_of_the_formats_whose_grid_the_base_lies_on(gridded, adapter, tmp_path):
    files, listener = run(gridded, adapter, tmp_path, *FORMATS)
    assert warned(listener) >= ON_Q4_0
    assert not warned(listener) & {"gguf-q8_0", "gguf-f16"}
    for form, path in files.items():
        left = survival_map(gridded, [adapter], path, progress=Silent()).total.projection
        assert (left < 0.5) == (form in warned(listener)), form
    text = next(text for text in listener.warnings if "rounding to gguf-q4_0" in text)
    assert "lies on this format's grid" in text
    assert "--unmerged" in text
    assert "larger alpha" in text


def test_nobody_is_warned_off_the_grid(base, adapter, tmp_path):
    _, listener = run(base, adapter, tmp_path, *FORMATS)
    assert not warned(listener)


def test_an_unmerged_adapter_is_not_rounded_and_nobody_is_warned(gridded, adapter, tmp_path):
    _, listener = run(gridded, adapter, tmp_path, "gguf-q4_0", unmerged=True)
    assert not warned(listener)


def test_the_warning_comes_before_the_stream_and_stays_in_the_manifest(gridded, adapter, tmp_path, monkeypatch):
    class Stopped(Exception):  # noqa: N818 (no error of ours)
        pass

    def stop(*_, **__):
        raise Stopped

    listener = Silent()
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "run_stream", stop)
        with pytest.raises(Stopped):
            export(gridded, [adapter], ["gguf-q4_0"], tmp_path, threads=1, progress=listener)
    assert warned(listener) == {"gguf-q4_0"}
    assert not list(tmp_path.iterdir())
    (item,) = export(gridded, [adapter], ["gguf-q4_0"], tmp_path, threads=1, progress=Silent())
    assert any("would survive" in text for text in item.manifest.warnings)


def test_the_sample_foretells_what_the_whole_map_finds(base, gridded, adapter, tmp_path, monkeypatch):
    from edgeproof.export.survival import preflight as survival_preflight

    foretold: list[Preflight] = []
    original = survival_preflight.preflight
    monkeypatch.setattr(
        survival_preflight, "preflight", lambda *given: foretold.append(original(*given)) or foretold[-1]
    )
    for number, start in enumerate((base, gridded)):
        files, _ = run(start, adapter, tmp_path / str(number), "gguf-q4_0", "gguf-q4", "onnx-int4")
        assert [found.on_grid for found in foretold] == [number == 1 and form != "gguf-q4" for form in files]
        for found, path in zip(foretold, files.values(), strict=True):
            whole = survival_map(start, [adapter], path, progress=Silent()).total
            assert found.projection == pytest.approx(whole.projection, abs=4 * found.error + 0.02)
            assert found.rounding == pytest.approx(whole.rounding, rel=0.2, abs=1e-4)
            assert found.moved == pytest.approx(whole.moved, rel=0.3, abs=0.002)
            assert found.sampled < whole.weights
        foretold.clear()


def test_the_manifest_of_either_kind_says_what_the_sample_shows(base, gridded, adapter, tmp_path):
    for number, start in enumerate((base, gridded)):
        files, _ = run(start, adapter, tmp_path / str(number), "gguf-q4_0", "onnx-int4")
        for path in files.values():
            left = json.loads(path.with_name(path.name + ".edge.json").read_text())["survival"]
            whole = survival_map(start, [adapter], path, progress=Silent()).total
            assert left["codes_moved"] == pytest.approx(whole.moved, rel=0.3, abs=0.002)
            assert left["projection"] == pytest.approx(whole.projection, abs=4 * left["projection_error"] + 0.02)


def test_the_manifest_says_of_every_tensor_what_the_whole_map_finds(base, gridded, adapter, tmp_path):
    for number, start in enumerate((base, gridded)):
        files, _ = run(start, adapter, tmp_path / str(number), "gguf-q4_0", "gguf-q4", "onnx-int4")
        for path in files.values():
            tensors = json.loads(path.with_name(path.name + ".edge.json").read_text())["survival"]["tensors"]
            whole = survival_map(start, [adapter], path, progress=Silent()).tensors
            found = {item["name"]: item for item in tensors}
            assert found.keys() == {item.source for item in whole}
            for item in whole:
                own = found[item.source]
                assert own["layer"] == item.layer
                # A few rows stand for all: their own spread, and what differs between rows.
                assert own["projection"] == pytest.approx(
                    item.survival.projection, abs=4 * own["projection_error"] + 0.1
                )


def test_the_adapters_effect_in_the_manifest_is_not_counted_twice(gridded, adapter, tmp_path, monkeypatch):
    (with_it,) = export(gridded, [adapter], ["gguf-q4_0"], tmp_path / "a", threads=1, progress=Silent())
    monkeypatch.setattr(pipeline, "foretell", lambda *_: {})
    (without,) = export(gridded, [adapter], ["gguf-q4_0"], tmp_path / "b", threads=1, progress=Silent())
    assert with_it.manifest.adapter_effect == without.manifest.adapter_effect
    assert with_it.manifest.artifact.sha256 == without.manifest.artifact.sha256


def test_usual_rounding_is_that_of_the_format_on_random_weights():
    from edgeproof.export.onnx.weights.schemes import Precision

    assert 0.07 < usual_rounding(GgufCodec(T.Q4_0)) < 0.1
    assert 0.003 < usual_rounding(GgufCodec(T.Q8_0)) < 0.008
    assert 0.07 < usual_rounding(OnnxCodec(Precision(4, "symmetric"))) < 0.1
    assert usual_rounding(GgufCodec(T.F32)) == 0
    assert usual_rounding(GgufCodec(T.IQ2_XXS)) == 0, "it cannot be quantized without an importance matrix"


def test_a_sample_too_small_to_tell_warns_of_nothing():
    sure, unsure = (Preflight(0.1, error, 0.0, 0.08, 1.0, 0.0, 1000) for error in (0.01, 0.3))
    assert "only about 10% of the adapter" in loss_warning("gguf-q4_1", sure)
    assert loss_warning("gguf-q4_1", unsure) is None


@pytest.mark.slow
def test_smollm2_loses_the_capitals_adapter_in_q4_1_alone_and_the_look_costs_little(
    smollm2_gguf, tmp_path, monkeypatch
):
    from importlib import resources

    from edgeproof.export.base.dequantize import dequantize_gguf

    base = tmp_path / "SmolLM2.gguf"
    dequantize_gguf(smollm2_gguf, base, float_type="f16")
    original, quantize, read = pipeline.foretell, kernels.quantize, GgufBase.rows
    looking: list[bool] = []
    quantized, values_read = Counter(), Counter()

    def looked(*given):
        looking.append(True)
        found = original(*given)
        looking.clear()
        return found

    def counted(kind, rows, *more, **options):
        quantized[bool(looking)] += rows.size
        return quantize(kind, rows, *more, **options)

    def rows(self, name, start, stop):
        values = read(self, name, start, stop)
        values_read[bool(looking)] += values.size
        return values

    monkeypatch.setattr(pipeline, "foretell", looked)
    monkeypatch.setattr(kernels, "quantize", counted)
    monkeypatch.setattr(GgufBase, "rows", rows)
    with resources.as_file(resources.files("edgeproof.examples") / "capitals" / "adapter") as adapter:
        files, listener = run(base, adapter, tmp_path / "out", "gguf-q4", "gguf-q4_1", "gguf-q4_0")
        assert warned(listener) == {"gguf-q4_1"}
        found = survival_map(base, [adapter], files["gguf-q4_1"], progress=Silent())
    assert 0 < quantized[True] < 0.02 * quantized[False]
    assert 0 < values_read[True] < values_read[False]
    assert found.total.projection == pytest.approx(0.065, abs=0.01)
    assert found.total.moved < 1e-4
    assert found.residue.exact

"""ONNX formats in the export as a whole: one pass with GGUF, one set of codes, manifests of folders, refusals."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from edgeproof.contracts.errors import ArtifactError, OutputError, UnsupportedError, UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.export.artifact.kind import identify_format
from edgeproof.export.artifact.manifest import digest_artifact, read_provenance
from edgeproof.export.formats import FORMATS
from edgeproof.export.gguf.writer import GgufWriter
from edgeproof.export.pipeline import ExportOptions, export
from edgeproof_tests.export.onnx.conftest import Session, arrays, sample_ids
from edgeproof_tests.export.onnx.test_families import dequantized
from edgeproof_tests.models import save_model

pytestmark = pytest.mark.torch

ONNX = [name for name in FORMATS if name.startswith("onnx")]
SMALL = {"hidden_size": 64, "intermediate_size": 128}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model("qwen3", tmp_path_factory.mktemp("base") / "tiny", **SMALL)


@pytest.fixture(scope="module")
def adapter(base, make_adapter):
    return make_adapter(base)


def make(base, adapters, out, *formats, progress=None, **options):
    more = {name: options.pop(name) for name in ("force", "command", "threads") if name in options}
    return export(
        base, adapters, formats, out, ExportOptions(**options), progress=progress or Silent(), **{"threads": 1} | more
    )


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_format_is_named_written_and_told_again(base, adapter, tmp_path):
    items = make(base, [adapter], tmp_path, *ONNX)
    assert [item.path.name for item in items] == [f"tiny-unlearned-{name}" for name in ONNX]
    assert [identify_format(item.path) for item in items] == ONNX
    for item in items:
        logits, _ = Session(item.path).run(sample_ids(5), head_dim=128)
        assert np.isfinite(logits).all()


def test_formats_asked_for_together_have_the_bytes_of_each_alone(base, adapter, tmp_path):
    together = make(base, [adapter], tmp_path / "both", "onnx-int4", "gguf-q4_0", "onnx-int4-mixed", threads=2)
    for item in together:
        (alone,) = make(base, [adapter], tmp_path / item.format, item.format)
        if item.path.is_dir():
            assert content(item.path) == content(alone.path)
        else:
            assert item.path.read_bytes() == alone.path.read_bytes()
        assert item.manifest.artifact == alone.manifest.artifact


def test_a_folders_manifest_names_every_file_as_sha256sum_does(base, adapter, tmp_path):
    (item,) = make(base, [adapter], tmp_path, "onnx-int4", command=("export-edge",))
    manifest = json.loads(item.path.with_name(item.path.name + ".edge.json").read_text())
    files = content(item.path)
    assert [entry["file"] for entry in manifest["files"]] == sorted(files)
    listing = ""
    for entry in manifest["files"]:
        digest = hashlib.sha256(files[entry["file"]]).hexdigest()
        assert (entry["sha256"], entry["bytes"]) == (digest, len(files[entry["file"]]))
        listing += f"{digest}  {entry['file']}\n"
    whole = {"file": item.path.name, "bytes": sum(map(len, files.values()))}
    assert manifest["artifact"] == {**whole, "sha256": hashlib.sha256(listing.encode()).hexdigest()}
    assert str(tmp_path) not in json.dumps(manifest)
    assert manifest["format"] == "onnx-int4"
    assert "onnx" in manifest["versions"]


def test_provenance_is_read_for_a_folder_and_lost_when_a_file_changes(base, tmp_path):
    (item,) = make(base, [], tmp_path, "onnx-int4")
    digest, _ = digest_artifact(item.path)
    assert read_provenance(item.path, digest.sha256)["format"] == "onnx-int4"
    (item.path / "chat_template.jinja").write_text("{{ other }}")
    changed, _ = digest_artifact(item.path)
    with pytest.raises(ArtifactError, match="is not the folder that its manifest describes"):
        read_provenance(item.path, changed.sha256)
    (item.path / "link").symlink_to("model.onnx")
    with pytest.raises(ArtifactError, match="is not a regular file"):
        digest_artifact(item.path)


def codes(found) -> dict[str, np.ndarray]:
    """Unpacked 4-bit codes by matrix."""
    packed = {name: values for name, values in found.items() if name.endswith("_Q4")}
    return {name: np.stack([values & 15, values >> 4], axis=-1) for name, values in packed.items()}


def test_the_share_of_codes_that_moved_is_near_that_of_all_codes(base, adapter, tmp_path):
    (before,) = make(base, [], tmp_path / "before", "onnx-int4")
    (after,) = make(base, [adapter], tmp_path / "after", "onnx-int4")
    assert before.manifest.survival is None
    ours, theirs = codes(arrays(before.path)), codes(arrays(after.path))
    names = [name for name in ours if name.startswith("model.layers")]
    moved = sum(np.count_nonzero(ours[name] != theirs[name]) for name in names)
    share = moved / sum(ours[name].size for name in names)
    found = after.manifest.survival
    assert 0.05 < share < 1
    assert found["codes_moved"] == pytest.approx(share, abs=0.03)
    assert found["sampled"] >= 10_000


def gguf_values(path):
    from gguf import GGUFReader
    from gguf.quants import dequantize

    return {
        tensor.name: (tensor.tensor_type.name, dequantize(tensor.data, tensor.tensor_type))
        for tensor in GGUFReader(path).tensors
    }


def test_with_shared_scales_every_matrix_that_is_4_bit_in_both_is_numerically_the_same(base, adapter, tmp_path):
    onnx, gguf = make(base, [adapter], tmp_path, "onnx-int4", "gguf-q4_0", shared_scales=True)
    found, there = arrays(onnx.path), gguf_values(gguf.path)
    names = {
        "attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    compared = 0
    for layer in range(2):
        stem = f"model.layers.{layer}"
        for ours, theirs in names.items():
            kind, values = there[f"blk.{layer}.{theirs}.weight"]
            assert kind == "Q4_0"
            np.testing.assert_array_equal(dequantized(found, f"{stem}.{ours}", values.shape[1]), values)
            compared += 1
        parts = [there[f"blk.{layer}.attn_{which}.weight"][1] for which in "qkv"]
        np.testing.assert_array_equal(dequantized(found, f"{stem}.attn.qkv_proj", 64), np.concatenate(parts))
    assert compared == 8
    (listed,) = onnx.manifest.not_shared
    assert listed == "lm_head: int4 q4_0 in ONNX; Q8_0 as token_embd.weight in GGUF"
    assert there["token_embd.weight"][0] == "Q8_0"
    assert identify_format(onnx.path) == "onnx-int4"


def test_shared_scales_do_not_depend_on_what_else_is_asked_for(base, adapter, tmp_path):
    both = make(base, [adapter], tmp_path / "both", "onnx-int4", "gguf-q4_0", shared_scales=True)
    (alone,) = make(base, [adapter], tmp_path / "alone", "onnx-int4", shared_scales=True)
    assert content(both[0].path) == content(alone.path)
    assert alone.manifest.not_shared is None
    assert alone.manifest.options["shared_scales"] is True


@pytest.mark.parametrize(
    ("formats", "options", "message"),
    [
        (("onnx-int4",), {"unmerged": True}, "--unmerged writes an adapter for llama.cpp"),
        (("onnx-int4",), {"tensor_types": ("attn_v=q8_0",)}, "--tensor-type concerns GGUF formats"),
        (("onnx-int8",), {"shared_scales": True}, "--shared-scales concerns onnx-int4"),
        (("gguf-q4_0",), {"onnx_builder": True}, "no ONNX format was asked for"),
    ],
)
def test_contradictions_are_refused_before_a_folder_is_made(formats, options, message, base, adapter, tmp_path):
    with pytest.raises(UsageError, match=message):
        make(base, [adapter], tmp_path / "out", *formats, **options)
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_refused_and_replaced_with_force(base, adapter, tmp_path):
    make(base, [], tmp_path, "onnx-int4", name="same")
    (tmp_path / "same-onnx-int4").rename(tmp_path / "same-unlearned-onnx-int4")
    with pytest.raises(OutputError, match="exists"):
        make(base, [adapter], tmp_path, "onnx-int4", name="same")
    (item,) = make(base, [adapter], tmp_path, "onnx-int4", name="same", force=True)
    assert read_provenance(item.path, digest_artifact(item.path)[0].sha256) is not None


def test_where_another_format_fails_the_folder_does_not_stay(base, adapter, tmp_path, monkeypatch):
    def fail(_self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GgufWriter, "finish", fail)
    with pytest.raises(OSError, match="No space"):
        make(base, [adapter], tmp_path, "onnx-int4", "gguf-q4_0")
    assert list(tmp_path.iterdir()) == []


def test_an_untied_table_in_float32_is_warned_of(tmp_path):
    base = save_model("qwen3-untied", tmp_path / "tiny", **SMALL)
    (item,) = make(base, [], tmp_path / "out", "onnx-int4")
    (warning,) = item.manifest.warnings
    assert "model.embed_tokens alone is" in warning
    assert "in float32" in warning


def test_a_familys_limits_in_llama_cpp_are_no_warnings_here(tmp_path):
    base = save_model("mistral", tmp_path / "tiny", **SMALL, sliding_window=24)
    quiet, loud = Silent(), Silent()
    make(base, [], tmp_path / "onnx", "onnx-int8", progress=quiet)
    make(base, [], tmp_path / "gguf", "gguf-q8_0", progress=loud)
    assert not any("llama.cpp" in warning for warning in quiet.warnings)
    assert any("llama.cpp's graph attends to all" in warning for warning in loud.warnings)


def test_an_option_that_only_llama_cpp_lacks_is_refused_for_gguf_alone(tmp_path):
    base = save_model("qwen2", tmp_path / "tiny", **SMALL, head_dim=32)
    (item,) = make(base, [], tmp_path / "onnx", "onnx-int8")
    assert identify_format(item.path) == "onnx-int8"
    with pytest.raises(UnsupportedError, match=r"llama\.cpp's graph for Qwen2"):
        make(base, [], tmp_path / "gguf", "onnx-int8", "gguf-q8_0")


def test_the_users_builder_makes_what_the_registry_has_no_graph_for(tmp_path):
    pytest.importorskip("onnxruntime_genai")
    base = save_model("lfm2", tmp_path / "tiny")
    with pytest.raises(UnsupportedError, match="convolution layers"):
        make(base, [], tmp_path / "out", "onnx-int4")
    (item,) = make(base, [], tmp_path / "out", "onnx-int4", onnx_builder=True)
    assert {"model.onnx", "model.onnx.data", "genai_config.json"} <= content(item.path).keys()
    assert "onnxruntime-genai" in item.manifest.versions
    assert item.manifest.options["onnx_builder"] is True
    assert item.manifest.effective_bits < 8


def test_a_builder_that_fails_says_its_last_words(tmp_path, monkeypatch):
    base = save_model("lfm2", tmp_path / "tiny")
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'No module named onnxruntime_genai' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("EDGEPROOF_ONNX_BUILDER_PYTHON", str(script))
    with pytest.raises(UnsupportedError, match="No module named onnxruntime_genai"):
        make(base, [], tmp_path / "out", "onnx-int4", onnx_builder=True)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_graph_of_another_kind_is_none_of_ours(base, tmp_path):
    import onnx

    (item,) = make(base, [], tmp_path, "onnx-int4")
    path = item.path / "model.onnx"
    model = onnx.load(str(path), load_external_data=False)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "block_size":
                attribute.i = 128
    path.write_bytes(model.SerializeToString())
    assert identify_format(item.path) is None
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(ArtifactError, match="is not an ONNX graph"):
        identify_format(item.path)
    path.unlink()
    with pytest.raises(ArtifactError, match=r"the graph that genai_config\.json names is missing: .*model\.onnx"):
        identify_format(item.path)


def test_gguf_and_the_users_builder_share_a_merge(tmp_path, make_adapter):
    pytest.importorskip("onnxruntime_genai")
    base = save_model("lfm2", tmp_path / "tiny")
    adapter = make_adapter(base, target_modules=["q_proj", "w1"])
    gguf, onnx = make(base, [adapter], tmp_path / "out", "gguf-q8_0", "onnx-int4", onnx_builder=True)
    assert gguf.manifest.adapter_effect == pytest.approx(onnx.manifest.adapter_effect)
    (alone,) = make(base, [adapter], tmp_path / "alone", "gguf-q8_0")
    assert gguf.path.read_bytes() == alone.path.read_bytes()
    assert gguf.manifest.adapter_effect == pytest.approx(alone.manifest.adapter_effect, rel=1e-6)

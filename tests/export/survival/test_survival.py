"""What is left of an adapter in a file: against the official gguf package and numpy, on and off a format's grid."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from edgeproof.contracts.errors import ArtifactError, UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.export.artifact.merged_folder import write_merged_folder
from edgeproof.export.pipeline import export
from edgeproof.export.survival.codecs import GgufCodec
from edgeproof.export.survival.measure import SurvivalMap, survival_map
from edgeproof.export.survival.residue import Outcome
from edgeproof_tests.export.conftest import load, peft_merge
from edgeproof_tests.models import save_model
from gguf import GGMLQuantizationType as T
from gguf import GGUFReader
from gguf.quants import dequantize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = [pytest.mark.torch, pytest.mark.blas]

GGUF = ("gguf-q4", "gguf-q4_0", "gguf-q4_1", "gguf-q4_k_s", "gguf-iq4_nl", "gguf-q8_0", "gguf-f16", "gguf-f32")
ONNX = ("onnx-int4", "onnx-int4-mixed", "onnx-int8", "onnx-fp32")
FORMATS = (*GGUF, *ONNX)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_model("qwen3", tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def adapter(base, make_adapter) -> Path:
    return make_adapter(base)


@pytest.fixture(scope="module")
def foreign(base, make_adapter) -> Path:
    return make_adapter(base, seed=5)


@pytest.fixture(scope="module")
def merged_base(base, adapter, tmp_path_factory) -> Path:
    """The merge as a float32 folder: exporting it with the adapter merges that twice."""
    return merge_folder(base, adapter, tmp_path_factory.mktemp("merged") / "tiny")


@pytest.fixture(scope="module")
def files(base, merged_base, adapter, foreign, tmp_path_factory) -> dict[str, dict[str, Path]]:
    """Every format of the merge, the base, the merge made twice, and the base with another adapter."""
    root = tmp_path_factory.mktemp("files")
    made = {
        "merged": (base, [adapter]),
        "base": (base, []),
        "twice": (merged_base, [adapter]),
        "foreign": (base, [foreign]),
        "both": (merged_base, [foreign]),
    }
    return {name: write(start, adapters, root / name, *FORMATS) for name, (start, adapters) in made.items()}


def merge_folder(base: Path, adapter: Path, out: Path) -> Path:
    from edgeproof.export.adapter.load import load_adapter
    from edgeproof.export.base.checkpoint import open_checkpoint
    from edgeproof.export.merge.merged import MergedModel

    out.mkdir(parents=True)
    write_merged_folder(MergedModel(open_checkpoint(base), [load_adapter(adapter)]), base, out, progress=Silent())
    return out


def write(base: Path, adapters: list[Path], out: Path, *formats: str, **options: Any) -> dict[str, Path]:
    items = export(base, adapters, formats, out, threads=1, progress=Silent(), **options)
    return {item.format: item.path for item in items}


def look(base: Path, adapter: Path, file: Path, **options: Any) -> SurvivalMap:
    return survival_map(base, [adapter], file, progress=Silent(), **options)


def on_grid(base: Path, kind: T, out: Path) -> Path:
    """Copy a base with every matrix of its layers rounded to the grid of `kind`, by llama.cpp and the gguf package."""
    import shutil

    from edgeproof.export.gguf import kernels
    from safetensors.numpy import load_file, save_file

    shutil.copytree(base, out)
    tensors = load_file(out / "model.safetensors")
    for name, values in tensors.items():
        if "proj" in name:
            tensors[name] = dequantize(kernels.quantize(kind, values), kind).reshape(values.shape).astype(np.float32)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


def dequantized(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read every matrix of a GGUF with the official package."""
    return {
        tensor.name: dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        for tensor in GGUFReader(path).tensors
    }


@pytest.mark.parametrize("form", GGUF)
def test_a_map_equals_one_made_with_the_official_package(form, base, adapter, files):
    found = look(base, adapter, files["merged"][form])
    file, rounded = dequantized(files["merged"][form]), dequantized(files["base"][form])
    before, after = dequantized(files["base"]["gguf-f32"]), dequantized(files["merged"]["gguf-f32"])
    assert {item.name for item in found.tensors} == {name for name in before if (before[name] != after[name]).any()}
    inner = norm = 0.0
    for item in found.tensors:
        delta, effective = after[item.name] - before[item.name], file[item.name] - rounded[item.name]
        size = np.linalg.norm(delta)
        assert item.survival.ratio == pytest.approx(np.linalg.norm(effective) / size, rel=1e-4)
        assert item.survival.projection == pytest.approx(np.vdot(effective, delta) / size**2, rel=1e-4)
        cosine = np.vdot(effective, delta) / size / np.linalg.norm(effective)
        assert item.survival.cosine == pytest.approx(cosine, rel=1e-4)
        assert item.survival.change == pytest.approx(size / np.linalg.norm(before[item.name]), rel=1e-4)
        rounding = np.linalg.norm(rounded[item.name] - before[item.name]) / np.linalg.norm(before[item.name])
        assert item.survival.rounding == pytest.approx(rounding, rel=1e-4, abs=1e-9)
        inner, norm = inner + np.vdot(effective, delta), norm + size**2
    assert found.total.projection == pytest.approx(inner / norm, rel=1e-4)


def test_onnx_folders_equal_onnxruntimes_own_dequantizing(base, adapter, files):
    onnx = pytest.importorskip("onnx")
    before, after = load(base).state_dict(), peft_merge(base, [adapter])

    def read(path: Path) -> dict[str, NDArray[np.float64]]:
        model = onnx.load(path / "model.onnx")
        arrays = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
        weights = {}
        for node in model.graph.node:
            if node.op_type == "MatMulNBits":
                codes, scales = (arrays[name] for name in node.input[1:3])
                values = np.stack([codes & 15, codes >> 4], -1).reshape(*scales.shape, 32).astype(float) - 8
                weights[node.name] = (values * scales[..., None]).reshape(len(scales), -1)
        return weights

    file, rounded = (read(files[name]["onnx-int4"]) for name in ("merged", "base"))
    node, source = "/model/layers.1/mlp/down_proj/MatMul_Q4", "model.layers.1.mlp.down_proj.weight"
    delta = after[source].astype(float) - before[source].numpy()
    effective = file[node] - rounded[node]
    found = {item.source: item for item in look(base, adapter, files["merged"]["onnx-int4"]).tensors}[source]
    assert found.survival.projection == pytest.approx(np.vdot(effective, delta) / np.vdot(delta, delta), rel=1e-3)
    assert found.survival.ratio == pytest.approx(np.linalg.norm(effective) / np.linalg.norm(delta), rel=1e-3)


@pytest.mark.parametrize("form", FORMATS)
def test_base_merge_and_double_merge_are_told_apart_in_every_format(form, base, adapter, files):
    found = {name: look(base, adapter, files[name][form]).residue for name in ("base", "merged", "twice")}
    assert [item.outcome for item in found.values()] == [Outcome.BASE, Outcome.MERGED, Outcome.TWICE]
    assert found["base"].exact
    assert found["merged"].exact
    for name, value, room in (("base", 0.0, 1e-9), ("merged", 1.0, 0.2), ("twice", 2.0, 0.4)):
        assert found[name].coefficient == pytest.approx(value, abs=room)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["foreign", "both"])
def test_another_adapter_is_neither_base_nor_merge(name, form, base, adapter, files):
    found = look(base, adapter, files[name][form])
    assert found.residue.outcome is Outcome.OTHER
    assert not found.residue.exact
    assert found.residue.unexplained > 0.2


def test_another_adapter_on_other_modules_beside_ours_is_seen(base, make_adapter, tmp_path):
    ours = make_adapter(base, target_modules=["q_proj", "v_proj"])
    theirs = make_adapter(base, target_modules=["down_proj"])
    (file,) = write(base, [ours, theirs], tmp_path, "gguf-q4_0").values()
    found = look(base, ours, file).residue
    assert found.outcome is Outcome.OTHER
    assert "another adapter as well" in found.reason
    assert survival_map(base, [ours, theirs], file, progress=Silent()).residue.outcome is Outcome.MERGED


@pytest.mark.parametrize("kind", [T.Q4_0, T.Q4_1, T.Q8_0])
def test_on_the_grid_next_to_nothing_survives_and_off_it_nine_tenths_do(kind, base, weak, tmp_path):
    gridded = on_grid(base, kind, tmp_path / "tiny")
    form = f"gguf-{kind.name.lower()}"
    size = 2e-3 if kind is not T.Q8_0 else 1e-4
    adapter = weak(size)
    on, off = (look(start, adapter, write(start, [adapter], tmp_path / name, form)[form]) for start, name in (
        (gridded, "on"), (base, "off")))  # fmt: skip
    # Q4_1 stores a minimum, too: it follows the block's lowest weight where no code moves.
    assert abs(on.total.projection) < 0.1
    assert on.total.moved < 1e-3
    assert on.total.rounding < 1e-3
    assert off.total.projection == pytest.approx(0.9, abs=0.25)
    assert off.total.rounding > 2e-3


def test_a_format_that_rounds_base_and_merge_alike_decides_nothing(base, weak, tmp_path):
    gridded = on_grid(base, T.Q4_0, tmp_path / "tiny")
    adapter = weak(2e-5)
    for adapters, name in (([adapter], "merged"), ([], "base")):
        found = look(gridded, adapter, write(gridded, adapters, tmp_path / name, "gguf-q4_0")["gguf-q4_0"]).residue
        assert found.outcome is Outcome.INCONCLUSIVE
        assert "cannot tell them apart" in found.reason


def test_a_merge_rounded_to_bfloat16_on_the_way_is_named(base, merged_base, adapter, tmp_path):
    """Of our own merge: a last bit in which PEFT's may differ turns a rounding here and there."""
    import torch
    import transformers

    out = tmp_path / "half"
    load(merged_base).to(torch.bfloat16).save_pretrained(out)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(out)
    (file,) = write(out, [], tmp_path / "out", "gguf-q8_0").values()
    found = look(base, adapter, file).residue
    assert found.outcome is Outcome.BF16
    assert found.exact


def test_what_casting_to_bfloat16_leaves_is_foretold(base, adapter, torch):
    before, after = load(base).state_dict(), peft_merge(base, [adapter])
    inner = norm = 0.0
    for name, values in before.items():
        merged = torch.from_numpy(after[name])
        delta = (merged - values).double()
        effective = merged.bfloat16().double() - values.bfloat16().double()
        inner, norm = inner + float((effective * delta).sum()), norm + float((delta * delta).sum())
    assert _any_map(base, adapter).as_bf16 == pytest.approx(inner / norm, rel=1e-4)


_MAPS: dict[Path, SurvivalMap] = {}


def _any_map(base: Path, adapter: Path) -> SurvivalMap:
    if base not in _MAPS:
        out = base.parent / "any"
        (file,) = write(base, [adapter], out, "gguf-f16", force=True).values()
        _MAPS[base] = look(base, adapter, file)
    return _MAPS[base]


def test_layers_are_split_into_attention_and_mlp(base, adapter):
    found = _any_map(base, adapter)
    assert [(layer, part) for layer, part, _ in found.layers] == [
        (layer, part) for layer in range(2) for part in ("attention", "mlp")
    ]
    assert Counter(item.part for item in found.tensors) == {"attention": 8, "mlp": 6}
    assert sum(survival.weights for _, _, survival in found.layers) == found.total.weights


@pytest.mark.parametrize("kind", [T.Q4_0, T.Q4_1, T.IQ4_NL, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K])
def test_codes_are_those_that_the_package_dequantizes(kind):
    """Within a block, weights with one scale are ordered by their codes: one weight a code, in the package's order."""
    from edgeproof.export.gguf import kernels

    rows = np.random.default_rng(3).standard_normal((4, 512), np.float32)
    raw = (kernels.quantize(kind, rows),)
    codec = GgufCodec(kind)
    weights = dequantize(raw[0], kind).reshape(4, 512)
    assert np.array_equal(codec.weights(raw, 512), weights)
    group = 16 if kind is T.Q6_K else 32
    codes = codec.codes(raw, 512)
    if kind is T.Q8_0:
        codes = codes.view(np.int8)
    assert int(codes.max()) - int(codes.min()) > {T.Q8_0: 200, T.Q6_K: 50}.get(kind, 28 if "5" in kind.name else 14)
    for some, values in zip(codes.reshape(-1, group), weights.reshape(-1, group), strict=True):
        pairs = {int(code): float(value) for code, value in zip(some, values, strict=True)}
        assert len(set(zip(some.tolist(), values.tolist(), strict=True))) == len(pairs), "one value a code"
        ordered = [pairs[code] for code in sorted(pairs)]
        assert ordered in (sorted(ordered), sorted(ordered, reverse=True))


@pytest.fixture(scope="module")
def weak(base, adapter, tmp_path_factory) -> Callable[[float], Path]:
    """`weak(0.001)`: the adapter with lora_B scaled so that ‖ΔW‖/‖W‖ is that."""
    from safetensors.numpy import load_file, save_file

    whole = _any_map(base, adapter).total.change

    def make(size: float) -> Path:
        out = tmp_path_factory.mktemp("weak") / "adapter"
        out.mkdir()
        (out / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
        tensors = load_file(adapter / "adapter_model.safetensors")
        factor = np.float32(size / whole)
        scaled = {name: values * factor if "lora_B" in name else values for name, values in tensors.items()}
        save_file(scaled, out / "adapter_model.safetensors")
        return out

    return make


def test_a_gguf_base_gives_the_same_map(base, adapter, files):
    for form in ("gguf-q4_0", "onnx-int4"):
        folder = look(base, adapter, files["merged"][form])
        whole = look(files["base"]["gguf-f32"], adapter, files["merged"][form])
        assert whole.residue.outcome is Outcome.MERGED
        assert whole.total.projection == pytest.approx(folder.total.projection, rel=1e-6)


def test_an_importance_matrix_that_is_missing_is_said_and_one_that_is_given_is_used(base, adapter, tmp_path):
    from edgeproof.export.gguf.imatrix import read_imatrix
    from gguf import GGUFWriter

    path = tmp_path / "imatrix.gguf"
    writer = GGUFWriter(path, "imatrix")
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", ["a.txt"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", 1)
    random = np.random.default_rng(0)
    (plain,) = write(base, [], tmp_path / "plain", "gguf-f32").values()
    for tensor in GGUFReader(plain).tensors:
        if len(tensor.shape) == 2:
            columns = int(tensor.shape[0])
            writer.add_tensor(f"{tensor.name}.in_sum2", random.random((1, columns), np.float32) + 0.1)
            writer.add_tensor(f"{tensor.name}.counts", np.ones((1, 1), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert read_imatrix(path).weights
    from edgeproof.export.pipeline import ExportOptions

    (file,) = write(base, [adapter], tmp_path / "out", "gguf-q4", options=ExportOptions(imatrix=path)).values()
    with_it, without = look(base, adapter, file, imatrix=path), look(base, adapter, file)
    assert with_it.residue.outcome is Outcome.MERGED
    assert with_it.residue.exact
    assert without.total.moved is without.total.projection is None
    assert without.residue.outcome is Outcome.MERGED
    assert not without.residue.exact
    assert any("importance matrix" in note for note in without.notes)


def test_a_file_of_another_model_is_refused(adapter, base, tmp_path):
    other = save_model("qwen3", tmp_path / "other", num_hidden_layers=1)
    (file,) = write(other, [], tmp_path / "out", "gguf-q4_0").values()
    with pytest.raises(ArtifactError, match=r"lacks blk\.1\."):
        look(base, adapter, file)


def test_a_map_needs_adapters(base, files):
    with pytest.raises(UsageError, match="needs the adapters"):
        survival_map(base, [], files["base"]["gguf-q4_0"], progress=Silent())


def test_the_json_form_holds_every_tensor(base, adapter):
    from edgeproof.export.survival.table import as_json

    content = json.loads(json.dumps(as_json(_any_map(base, adapter)), allow_nan=False))
    assert content["residue"]["outcome"] == "merged"
    assert len(content["tensors"]) == 14
    assert set(content["tensors"][0]) >= {"name", "source", "layer", "part", "type", "moved", "projection"}


@pytest.mark.parametrize("form", ["gguf-q4_0", "onnx-int4"])
@pytest.mark.parametrize("family", ["llama", "llama3", "gemma2", "gemma3", "phi3", "lfm2", "qwen2"])
def test_every_family_is_compared_in_its_own_row_order(family, form, make_adapter, tmp_path):
    if (family, form) == ("lfm2", "onnx-int4"):
        pytest.skip("the ONNX graph has no convolutions")
    base = save_model(family, tmp_path / "tiny")
    adapter = make_adapter(base, target_modules="all-linear")
    found = look(base, adapter, write(base, [adapter], tmp_path / "out", form)[form])
    assert found.residue.outcome is Outcome.MERGED
    assert found.residue.exact
    assert found.total.projection == pytest.approx(0.95, abs=0.15)


def test_a_head_that_the_adapter_unties_is_compared(tmp_path, make_adapter):
    base = save_model("llama", tmp_path / "tiny")
    adapter = make_adapter(base, target_modules=["q_proj", "lm_head"])
    for form, path in write(base, [adapter], tmp_path / "out", "gguf-q4_0", "onnx-int4").items():
        found = look(base, adapter, path)
        assert found.residue.exact, form
        assert {item.source for item in found.tensors} >= {"lm_head.weight"}


def altered(file: Path, out: Path, tensor: str, blocks: slice) -> Path:
    """Copy a Q4_0 file with the codes of some blocks of a tensor replaced by other ones."""
    reader = GGUFReader(file)
    (found,) = (item for item in reader.tensors if item.name == tensor)
    content = bytearray(file.read_bytes())
    stored = np.frombuffer(content, np.uint8, found.n_bytes, found.data_offset).reshape(-1, 18)
    stored[blocks, 2] ^= 0x11
    out.write_bytes(content)
    return out


def test_a_few_blocks_rounded_otherwise_are_told(base, adapter, files, tmp_path):
    file = files["merged"]["gguf-q4_0"]
    few = look(base, adapter, altered(file, tmp_path / "few.gguf", "blk.0.ffn_up.weight", slice(0, None, 100))).residue
    assert few.outcome is Outcome.MERGED
    assert not few.exact
    assert "rounded otherwise" in few.reason


def test_one_strange_block_where_the_adapter_does_nothing_is_another_base(base, make_adapter, tmp_path):
    ours = make_adapter(base, target_modules=["q_proj", "v_proj"])
    (file,) = write(base, [ours], tmp_path / "out", "gguf-q4_0").values()
    strange = look(base, ours, altered(file, tmp_path / "one.gguf", "blk.1.ffn_up.weight", slice(7, 8))).residue
    assert strange.outcome is Outcome.OTHER
    assert "another base" in strange.reason


def test_weights_that_are_not_finite_are_refused(base, adapter, files, tmp_path):
    file = files["merged"]["gguf-f32"]
    (found,) = (item for item in GGUFReader(file).tensors if item.name == "blk.1.attn_q.weight")
    content = bytearray(file.read_bytes())
    np.frombuffer(content, np.float32, 1, found.data_offset)[0] = np.nan
    (tmp_path / "nan.gguf").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"blk\.1\.attn_q\.weight .* NaN"):
        look(base, adapter, tmp_path / "nan.gguf")

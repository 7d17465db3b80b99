"""Every family: stored arrays are the builder's, logits are torch's, onnxruntime-genai runs what is written."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from edgeproof_tests.export.conftest import Quiet, load, peft_model
from edgeproof_tests.export.gguf.test_families import write_adapter
from edgeproof_tests.export.onnx.conftest import (
    ROPE_DIFFERS,
    VARIANTS,
    WINDOW_DIFFERS,
    Session,
    arrays,
    head_dim,
    sample_ids,
    take_rope_tables,
    tolerance,
    torch_logits,
    torch_model,
)

pytestmark = pytest.mark.torch

QUANTIZED = ("onnx-int4", "onnx-int4-mixed", "onnx-int8")
BEYOND = 300
"""Tokens: more than longrope's original context of 256."""


def shapes(folder) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)


@pytest.fixture(scope="module")
def merged(tiny, tmp_path_factory):
    """Return a variant's base, a random adapter and what peft makes of the two, as folders; made once."""
    made = {}

    def make(variant):
        if variant not in made:
            base, folder = tiny(variant), tmp_path_factory.mktemp("merged")
            adapter = write_adapter(shapes(base), folder / "adapter")
            with Quiet():
                model = peft_model(base, [adapter]).merge_and_unload()
                model.save_pretrained(folder / "tiny")
            for file in base.iterdir():
                if file.name.startswith(("tokenizer", "chat_template", "generation", "config")):
                    (folder / "tiny" / file.name).write_bytes(file.read_bytes())
            made[variant] = base, adapter, folder / "tiny"
        return made[variant]

    return make


@pytest.mark.blas
@pytest.mark.parametrize("name", ["onnx-int4", "onnx-int4-mixed"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_codes_scales_and_zero_points_are_the_builders_on_the_peft_merge(variant, name, merged, exported, built):
    if variant == "qwen2-yarn":
        pytest.skip("the builder divides by zero where yarn's beta_fast and beta_slow have their defaults")
    if (variant, name) == ("llama-ragged", "onnx-int4-mixed"):
        pytest.skip("the builder cannot pack an odd number of 4-bit zero points")
    base, adapter, folder = merged(variant)
    ours, theirs = arrays(exported(base, name, (adapter,))), arrays(built(folder, name))
    ours = {array: values for array, values in ours.items() if "_cache" not in array}
    theirs = {array: values for array, values in theirs.items() if "_cache" not in array}
    assert set(ours) == set(theirs)
    different = [
        array
        for array, values in theirs.items()
        if values.shape != ours[array].shape or values.tobytes() != ours[array].tobytes()
    ]
    assert different == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_float_logits_are_torchs(variant, tiny, exported):
    folder = tiny(variant)
    model, session = torch_model(folder), Session(exported(folder, "onnx-fp32"))
    lengths = (1, 60, BEYOND) if "longrope" in variant else (1, 60)
    for length in lengths:
        ids = sample_ids(length)
        expected = torch_logits(model, ids)
        ours, _ = session.run(ids, head_dim=head_dim(model))
        np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance(expected))


@pytest.mark.parametrize("variant", VARIANTS)
def test_float_logits_are_torchs_token_by_token_over_the_cache(variant, tiny, exported):
    folder = tiny(variant)
    model, session = torch_model(folder), Session(exported(folder, "onnx-fp32"))
    ids = sample_ids(60)
    expected = torch_logits(model, ids)
    first, past = session.run(ids[:, :40], head_dim=head_dim(model))
    steps = [first]
    for at in range(40, 60):
        logits, past = session.run(ids[:, at : at + 1], past, head_dim=head_dim(model))
        steps.append(logits)
    np.testing.assert_allclose(np.concatenate(steps, axis=1), expected, rtol=0, atol=tolerance(expected))


def dequantized(found, name: str, columns: int):
    """A matrix of the folder as onnxruntime defines it: (code − zero point) · scale, float32 [rows, columns]."""
    if f"{name}.MatMul.weight" in found:
        return found[f"{name}.MatMul.weight"]
    stem = f"{name}.MatMul.weight"
    (key,) = [array for array in found if array.startswith(f"{stem}_Q")]
    codes, bits = found[key], 4 if "_Q4" in key else 8
    rows, blocks = codes.shape[:2]
    if bits == 4:
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(rows, blocks, -1)
    scales = found.get(f"{stem}_scale", found.get(f"{stem}_scales")).reshape(rows, blocks, 1)
    zeros = np.full((rows, blocks, 1), 2 ** (bits - 1), np.float32)
    if f"{stem}_zp" in found:
        packed = found[f"{stem}_zp"]
        flat = packed if bits == 8 else np.stack([packed & 15, packed >> 4], axis=-1).reshape(rows, -1)[:, :blocks]
        zeros = flat.reshape(rows, blocks, 1).astype(np.float32)
    return ((codes.astype(np.float32) - zeros) * scales).reshape(rows, -1)[:, :columns]


def put_back(model, found) -> None:
    """Give a torch model the folder's own weights, dequantized."""
    import torch

    text = model.get_decoder() if hasattr(model, "get_decoder") else model.model
    text = getattr(text, "language_model", text)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight

    def put(parameter, values):
        parameter.data = torch.from_numpy(np.ascontiguousarray(values))

    for number, layer in enumerate(text.layers):
        for part in ("attn", "mlp"):
            module = layer.self_attn if part == "attn" else layer.mlp
            for which in ("qkv", "o") if part == "attn" else ("gate", "up", "down"):
                name = f"model.layers.{number}.{part}.{which}_proj"
                columns = {"o": module.o_proj.in_features if part == "attn" else 0, "down": None}.get(which)
                if columns is None:
                    columns = module.down_proj.in_features if which == "down" else text.config.hidden_size
                values = dequantized(found, name, columns)
                if which == "qkv" and not hasattr(module, "qkv_proj"):
                    splits = np.cumsum([module.q_proj.out_features, module.k_proj.out_features])
                    for target, rows in zip("qkv", np.split(values, splits), strict=True):
                        put(getattr(module, f"{target}_proj").weight, rows)
                elif hasattr(module, f"{which}_proj"):
                    put(getattr(module, f"{which}_proj").weight, values)
                else:  # Phi-3's fused gate and up
                    half = 0 if which == "gate" else len(values)
                    fused = module.gate_up_proj.weight.data.clone()
                    fused[half : half + len(values)] = torch.from_numpy(values)
                    module.gate_up_proj.weight.data = fused
    head = dequantized(found, "lm_head", text.config.hidden_size)
    put(model.get_output_embeddings().weight, head)
    if tied:
        put(model.get_input_embeddings().weight, head)


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("variant", VARIANTS)
def test_quantized_logits_are_torchs_with_the_same_codes_dequantized(variant, name, tiny, exported):
    base = tiny(variant)
    folder = exported(base, name)
    model = torch_model(base)
    put_back(model, arrays(folder))
    ids = sample_ids(40)
    expected = torch_logits(model, ids)
    ours, _ = Session(folder, level=0).run(ids, head_dim=head_dim(model))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance(expected))


def generate(folder, count: int = 40) -> tuple[list[int], list[int]]:
    """Prompt and greedy continuation, by onnxruntime-genai."""
    import onnxruntime_genai

    model = onnxruntime_genai.Model(str(folder))
    tokenizer = onnxruntime_genai.Tokenizer(model)
    parameters = onnxruntime_genai.GeneratorParams(model)
    parameters.set_search_options(max_length=200, do_sample=False)
    generator = onnxruntime_genai.Generator(model, parameters)
    prompt = [int(token) for token in tokenizer.encode("The capital of it is")]
    generator.append_tokens(np.array(prompt, np.int32))
    found: list[int] = []
    while not generator.is_done() and len(found) < count:
        generator.generate_next_token()
        found.append(int(generator.get_next_tokens()[0]))
    return prompt, found


@pytest.mark.parametrize("name", [*QUANTIZED, "onnx-fp32"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_genai_generates_the_text_of_the_builders_folder(variant, name, tiny, exported, built, tmp_path):
    pytest.importorskip("onnxruntime_genai")
    base = tiny(variant)
    prompt, ours = generate(exported(base, name))
    assert ours
    if variant in ROPE_DIFFERS | WINDOW_DIFFERS or (variant, name) == ("llama-ragged", "onnx-int4-mixed"):
        return  # the builder's graph is another one, or there is none
    shutil.copytree(built(base, name), tmp_path / "theirs")
    take_rope_tables(tmp_path / "theirs", arrays(exported(base, name)))
    assert generate(tmp_path / "theirs") == (prompt, ours)


@pytest.mark.blas
def test_the_merge_reaches_the_graph(merged, exported):
    base, adapter, folder = merged("qwen3")
    ids = sample_ids(20)
    model = load(folder)
    expected = torch_logits(model, ids)
    ours, _ = Session(exported(base, "onnx-fp32", (adapter,))).run(ids, head_dim=head_dim(model))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance(expected))
    before = torch_logits(torch_model(base), ids)
    assert np.abs(before - expected).max() > 1

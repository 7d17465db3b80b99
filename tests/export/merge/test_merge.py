"""The merged float32 tensors are peft's own (`merge_and_unload`), and what cannot be merged rightly is refused."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from edgeproof.contracts.errors import AdapterError
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.merge import merged as merge
from edgeproof.export.merge.merged import MergedModel
from edgeproof.export.merge.names import MergeTarget
from edgeproof_tests.export.conftest import ALL_LINEAR, exact, load, peft_merge, peft_model

pytestmark = [pytest.mark.torch, pytest.mark.blas]

EVERYTHING = [*ALL_LINEAR, "lm_head", "embed_tokens"]


def merged_tensors(base: Path, *adapters: Path, rows: int = 100) -> tuple[MergedModel, dict[str, np.ndarray]]:
    model = MergedModel(open_checkpoint(base), [load_adapter(adapter) for adapter in adapters])
    tensors = {}
    for info in model.tensors.values():
        chunks = [model.rows(info.name, at, min(at + rows, info.rows)) for at in range(0, info.rows, rows)]
        tensors[info.name] = np.concatenate(chunks).reshape(info.shape)
    return model, tensors


def assert_equal_peft(
    base: Path, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], *adapters: Path, ulps: float = 0.0
) -> None:
    """Hold every tensor to `ulps` units in the last place of max(|W|, |ΔW|), and to what the order of sums may change.

    Two sums of r products, each in any order, differ by at most 2·γ·|B|·|A|, γ = r·u / (1 − r·u) and u = 2⁻²⁴ (Higham,
    "Accuracy and Stability of Numerical Algorithms", eq. 3.5). Where the factors are such that nothing is rounded, the
    sums are the same: the bound is then `ulps` alone, on every processor.
    """
    orders: dict[str, np.ndarray] = {}
    for lora in (lora for adapter in adapters for lora in load_adapter(adapter).low_rank.values()):
        A, B = lora.A.read(), lora.B.read()
        if all(np.array_equal(values, exact(values)) for values in (A, B)):
            continue
        unit = len(A) * 2.0**-24
        product = 2 * unit / (1 - unit) * abs(lora.scaling) * (np.abs(B) @ np.abs(A))
        name = f"{lora.module}.weight"
        product = product if product.shape == ours[name].shape and not lora.embedding else product.T
        orders[name] = orders.get(name, 0) + product
    original = {name: tensor.detach().numpy() for name, tensor in load(base).state_dict().items()}
    theirs = {name: tensor for name, tensor in theirs.items() if name in ours}
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        weight = original[name]
        scale = np.maximum(np.abs(weight), np.abs(theirs[name].astype(np.float64) - weight)).astype(np.float32)
        error = np.maximum(np.abs(tensor.astype(np.float64) - theirs[name]) - orders.get(name, 0), 0)
        error /= np.spacing(np.maximum(scale, np.float32(1e-30)))
        assert error.max() <= ulps, f"{name}: {error.max()} ulp"


VARIANTS = {
    "lora": {},
    "one_module": {"target_modules": ["q_proj"]},
    "odd_scaling": {"r": 7, "lora_alpha": 5},
    "rank_64": {"r": 64, "lora_alpha": 128},
    "rslora": {"use_rslora": True},
    "patterns": {
        "rank_pattern": {"layers.1.self_attn.q_proj": 3, "down_proj": 5, r".*\.0\.mlp\.(up|gate)_proj": 6},
        "alpha_pattern": {"^model.layers.0.self_attn.q_proj": 40, "up_proj": 3},
        "use_rslora": True,
    },
    "regex_targets": {"target_modules": r".*\.(q|v)_proj", "exclude_modules": r".*layers\.0.*"},
    "some_layers": {"layers_to_transform": [1]},
    "float16_adapter": {"dtype": "float16"},
    "bfloat16_adapter": {"dtype": "bfloat16"},
    "head": {"target_modules": [*ALL_LINEAR, "lm_head"]},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "everything": {"target_modules": EVERYTHING},
    "modules_to_save": {"modules_to_save": ["lm_head", "norm"]},
    "saved_embedding": {"modules_to_save": ["embed_tokens"]},
    "tokens": {"trainable_token_indices": [3, 319, 0]},
    "orthogonal_init": {"init_lora_weights": "orthogonal"},
    "mica_init": {"init_lora_weights": "mica"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_merged_weights_equal_peft(variant, llama, make_adapter):
    """Bit for bit: products over the rank are exact, whatever the BLAS and the order of its sums."""
    adapter = make_adapter(llama, **VARIANTS[variant])
    _, ours = merged_tensors(llama, adapter)
    assert_equal_peft(llama, ours, peft_merge(llama, [adapter]), adapter)


@pytest.mark.parametrize("variant", VARIANTS)
def test_merged_weights_of_unrounded_factors_equal_peft_but_for_the_order_of_sums(variant, llama, make_adapter):
    adapter = make_adapter(llama, rounded=False, **VARIANTS[variant])
    _, ours = merged_tensors(llama, adapter)
    assert_equal_peft(llama, ours, peft_merge(llama, [adapter]), adapter, ulps=1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_merged_weights_equal_peft_over_our_own_products(variant, llama, make_adapter, monkeypatch):
    """The order of operations around the product, of any factors: peft multiplies with numpy's BLAS, as we do."""
    import torch

    adapter = make_adapter(llama, rounded=False, **VARIANTS[variant])
    _, ours = merged_tensors(llama, adapter)

    def product(B, A):
        B, A = B.detach().numpy(), A.detach().numpy()
        embedding = A.shape[1] == 320  # tokens: the table is [tokens, width], and so is our product
        if embedding:
            return torch.from_numpy(np.ascontiguousarray(A.T) @ np.ascontiguousarray(B.T)).T
        return torch.from_numpy(B @ A)

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    assert_equal_peft(llama, ours, peft_merge(llama, [adapter]), ulps=1)


@pytest.mark.parametrize(
    "options",
    [{}, {"use_rslora": True, "r": 5}, {"target_modules": [*ALL_LINEAR, "lm_head"]}, {"target_modules": EVERYTHING}],
    ids=["linear", "rslora", "head", "embedding"],
)
def test_merged_weights_equal_peft_for_dora(options, llama, make_adapter):
    adapter = make_adapter(llama, use_dora=True, **options)
    _, ours = merged_tensors(llama, adapter)
    assert_equal_peft(llama, ours, peft_merge(llama, [adapter]), adapter, ulps=4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shards", [False, True])
def test_merged_weights_of_a_half_precision_base_are_not_rounded(dtype, shards, make_base, make_adapter):
    base = make_base("llama", dtype=dtype, shards=shards)
    adapter = make_adapter(base)
    _, ours = merged_tensors(base, adapter)
    assert_equal_peft(base, ours, peft_merge(base, [adapter]), adapter)


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_trained_biases_equal_peft(bias, make_base, make_adapter):
    base = make_base("qwen2")
    adapter = make_adapter(base, bias=bias)
    _, ours = merged_tensors(base, adapter)
    theirs = peft_merge(base, [adapter])
    assert_equal_peft(base, ours, theirs, adapter)
    bias_name = "model.layers.0.self_attn.q_proj.bias"
    assert not np.array_equal(ours[bias_name], load(base).state_dict()[bias_name].numpy())


def test_lora_bias_equals_peft(make_base, make_adapter):
    base = make_base("qwen2")
    adapter = make_adapter(base, target_modules=["q_proj", "v_proj"], lora_bias=True)
    _, ours = merged_tensors(base, adapter)
    assert_equal_peft(base, ours, peft_merge(base, [adapter]), adapter)


def test_lora_bias_without_a_bias_to_add_it_to_is_refused(llama, make_adapter):
    adapter = make_adapter(llama, target_modules=["q_proj"], lora_bias=True)
    with pytest.raises(AdapterError, match="no bias to add it to"):
        merged_tensors(llama, adapter)


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("stated", [False, True], ids=["flag_missing", "flag_set"])
def test_conv1d_weights_are_merged_transposed(use_dora, stated, make_base, make_adapter):
    base = make_base("gpt2")
    adapter = make_adapter(base, target_modules=["c_attn", "c_proj", "c_fc"], use_dora=use_dora, fan_in_fan_out=True)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"fan_in_fan_out": stated}))
    _, ours = merged_tensors(base, adapter)
    assert_equal_peft(base, ours, peft_merge(base, [adapter]), adapter, ulps=4 if use_dora else 0)


def test_fan_in_fan_out_on_plain_linear_layers_is_corrected_as_peft_does(llama, make_adapter):
    adapter = make_adapter(llama)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"fan_in_fan_out": True}))
    _, ours = merged_tensors(llama, adapter)
    assert_equal_peft(llama, ours, peft_merge(llama, [adapter]), adapter)


@pytest.mark.parametrize("second", [{}, {"use_dora": True}], ids=["lora", "dora"])
@pytest.mark.parametrize("first", [{}, {"use_dora": True}], ids=["lora", "dora"])
def test_several_adapters_in_order_equal_peft(first, second, llama, make_adapter):
    adapters = [make_adapter(llama, **first), make_adapter(llama, seed=12, r=4, target_modules=["q_proj"], **second)]
    model, ours = merged_tensors(llama, *adapters)
    # For a DoRA norm after another adapter peft takes W₀ as (W₀ + ΔW₁) − ΔW₁, which rounds twice; ours is W₀ itself.
    ulps = 64 if second else 4 if first else 1.5
    assert_equal_peft(llama, ours, peft_merge(llama, adapters), *adapters, ulps=ulps)
    assert any("DoRA" in warning for warning in model.warnings) == bool(second)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"modules_to_save": ["lm_head"], "bias": "all"}])
def test_chunks_do_not_change_a_bit(options, llama, make_adapter, monkeypatch):
    monkeypatch.setattr(merge, "BLOCK_VALUES", 13_000)
    adapter = make_adapter(llama, target_modules=EVERYTHING[:-2] if "bias" in options else EVERYTHING, **options)
    model, whole = merged_tensors(llama, adapter, rows=10**6)
    in_pieces, pieces = merged_tensors(llama, adapter, rows=37)
    for one, other in zip(model.effects(), in_pieces.effects(), strict=True):
        assert one.name == other.name
        assert one[1:] == pytest.approx(other[1:], rel=1e-5)
    for name in whole:
        assert np.array_equal(whole[name], pieces[name]), name


def test_rows_are_the_same_from_many_threads(llama, make_adapter):
    adapter = make_adapter(llama, use_dora=True, target_modules=EVERYTHING)
    _, expected = merged_tensors(llama, adapter)
    model = MergedModel(open_checkpoint(llama), [load_adapter(adapter)])
    jobs = [
        (info.name, at, min(at + 16, info.rows)) for info in model.tensors.values() for at in range(0, info.rows, 16)
    ]
    with ThreadPoolExecutor(8) as pool:
        for (name, start, stop), rows in zip(jobs, pool.map(lambda job: model.rows(*job), jobs), strict=True):
            tensor = expected[name].reshape(-1, expected[name].shape[-1])
            assert np.array_equal(rows, tensor[start:stop])
            assert rows.flags.c_contiguous
            assert rows.flags.owndata or rows.base is not None


def logits_of(model) -> np.ndarray:
    import torch

    with torch.no_grad():
        return model(torch.arange(24).reshape(2, 12)).logits.numpy()


TIED = {
    "head": {"target_modules": ["lm_head", "q_proj"]},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "both": {"target_modules": ["embed_tokens", "lm_head"]},
    "embedding_dora": {"target_modules": ["embed_tokens"], "use_dora": True},
    "dora_both_saved": {"target_modules": ["embed_tokens"], "use_dora": True, "ensure_weight_tying": True},
    "saved_head": {"modules_to_save": ["lm_head"]},
    "saved_embedding": {"modules_to_save": ["embed_tokens"]},
}


@pytest.mark.parametrize("variant", TIED)
def test_tied_weights_are_untied_where_training_did(variant, tied_llama, make_adapter, tmp_path):
    """The oracle is the model as peft runs it unmerged: peft's own merge of tied weights gives another model."""
    from safetensors.numpy import save_file

    adapter = make_adapter(tied_llama, **TIED[variant])
    model, ours = merged_tensors(tied_llama, adapter)
    assert model.config["tie_word_embeddings"] is False
    assert next(iter(model.tensors)) == "lm_head.weight"
    assert any("untied" in warning for warning in model.warnings)
    expected = logits_of(peft_model(tied_llama, [adapter]))
    shutil.copytree(tied_llama, tmp_path / "merged")
    (tmp_path / "merged" / "config.json").write_text(json.dumps(dict(model.config)))
    save_file(ours, tmp_path / "merged" / "model.safetensors", {"format": "pt"})
    assert np.abs(logits_of(load(tmp_path / "merged")) - expected).max() < 2e-5
    if "saved" not in variant:
        assert_equal_peft(tied_llama, ours, peft_merge(tied_llama, [adapter], untie=True), adapter, ulps=4)


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["embed_tokens", "q_proj"], "ensure_weight_tying": True},
        {"target_modules": ["lm_head", "q_proj"], "ensure_weight_tying": True},
        {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        {"modules_to_save": ["lm_head"], "ensure_weight_tying": True},
        {"trainable_token_indices": [5, 17]},
        {"trainable_token_indices": {"embed_tokens": [5, 17]}, "ensure_weight_tying": True},
        {},
    ],
    ids=["lora", "lora_by_head", "saved", "saved_by_head", "tokens", "tokens_dict", "untouched"],
)
def test_tied_weights_stay_tied_where_training_kept_them(options, tied_llama, make_adapter, tmp_path):
    from safetensors.numpy import save_file

    adapter = make_adapter(tied_llama, **options)
    model, ours = merged_tensors(tied_llama, adapter)
    assert model.config["tie_word_embeddings"] is True
    assert "lm_head.weight" not in model.tensors
    expected = logits_of(peft_model(tied_llama, [adapter]))
    shutil.copytree(tied_llama, tmp_path / "merged")
    save_file(ours, tmp_path / "merged" / "model.safetensors", {"format": "pt"})
    assert np.abs(logits_of(load(tmp_path / "merged")) - expected).max() < 2e-5


def test_adapter_of_another_shape_is_refused_with_the_numbers(llama, make_base, make_adapter):
    adapter = make_adapter(make_base("llama", hidden_size=128, intermediate_size=256))
    with pytest.raises(AdapterError, match=re.escape("down_proj is (128, 256), ")) as caught:
        merged_tensors(llama, adapter)
    assert "down_proj.weight is (256, 512)" in str(caught.value)


def test_adapter_of_another_architecture_matches_nothing(llama, make_base, make_adapter):
    adapter = make_adapter(make_base("gpt2"), target_modules=["c_attn"], fan_in_fan_out=True)
    with pytest.raises(AdapterError, match=r"2 of 2 tensors .* match nothing .* transformer\.h\.0\.attn\.c_attn"):
        merged_tensors(llama, adapter)


def test_saved_module_of_another_vocabulary_is_refused(llama, make_base, make_adapter):
    adapter = make_adapter(make_base("llama", vocab_size=400), modules_to_save=["lm_head"])
    with pytest.raises(AdapterError, match=re.escape("(400, 256)")):
        merged_tensors(llama, adapter)


def test_near_zero_adapter_is_refused_before_any_work(llama, make_adapter):
    adapter = make_adapter(llama)
    scale_lora_b(adapter, 1e-6)
    with pytest.raises(AdapterError, match=r"has almost no effect: .*\d e?-?"):
        MergedModel(open_checkpoint(llama), [load_adapter(adapter)])


def test_faint_adapter_is_warned_about(llama, make_adapter):
    adapter = make_adapter(llama)
    scale_lora_b(adapter, 1e-4)
    model = MergedModel(open_checkpoint(llama), [load_adapter(adapter)])
    assert any("16 bits or fewer" in warning for warning in model.warnings)


def test_saved_module_equal_to_the_bases_is_refused_when_all_rows_have_passed(llama, make_adapter):
    adapter = make_adapter(llama, target_modules=["q_proj"], modules_to_save=["lm_head"])
    scale_lora_b(adapter, 0.0, head=load(llama).lm_head.weight)
    model, _ = merged_tensors(llama, adapter)
    with pytest.raises(AdapterError, match="equals its base"):
        model.refuse_idle()


def test_dora_fresh_from_peft_is_refused_when_all_rows_have_passed(llama, tmp_path):
    import peft

    config = peft.LoraConfig(target_modules=["q_proj", "down_proj"], use_dora=True)
    peft.get_peft_model(load(llama), config).save_pretrained(tmp_path)
    model, _ = merged_tensors(llama, tmp_path)
    with pytest.raises(AdapterError, match="equals its base"):
        model.refuse_idle()


def test_effects_are_the_norms_of_what_passed(llama, make_adapter):
    adapter = make_adapter(llama, modules_to_save=["lm_head"], trainable_token_indices=[1, 2])
    model, ours = merged_tensors(llama, adapter)
    original = load(llama).state_dict()
    effects = {effect.name: effect for effect in model.effects()}
    touched = {name for name in ours if not np.array_equal(ours[name], original[name].numpy())}
    assert effects.keys() == touched
    for name, effect in effects.items():
        weight = original[name].numpy().astype(np.float64)
        assert effect.delta_norm == pytest.approx(np.linalg.norm(ours[name] - weight), rel=1e-4)
        assert effect.weight_norm == pytest.approx(np.linalg.norm(weight), rel=1e-4)
    model.refuse_idle()


def test_adapter_that_would_discard_an_earlier_one_is_refused(llama, make_adapter):
    first = make_adapter(llama, target_modules=["lm_head"])
    second = make_adapter(llama, modules_to_save=["lm_head"])
    with pytest.raises(AdapterError, match="would discard"):
        merged_tensors(llama, first, second)
    merged_tensors(llama, second, first)


def test_missing_layers_are_warned_about(llama, make_adapter):
    adapter = make_adapter(llama)
    drop_keys(adapter, lambda key: "layers.1.mlp.up_proj" in key)
    model, _ = merged_tensors(llama, adapter)
    assert any("holds no LoRA for 1 of the 14 modules" in warning for warning in model.warnings)


@pytest.mark.parametrize(
    ("in_base", "in_adapter"),
    [
        ("language_model.model.", "model.language_model."),
        ("model.language_model.", "language_model.model."),
        ("model.", "model.language_model."),
        ("model.", "language_model.model."),
        ("", "model."),
        ("model.", ""),
    ],
)
def test_spellings_of_multimodal_and_bare_checkpoints_are_one_model(in_base, in_adapter, llama, make_adapter, tmp_path):
    from safetensors.torch import load_file, save_file

    adapter = make_adapter(llama)
    _, expected = merged_tensors(llama, adapter)
    base = Path(shutil.copytree(llama, tmp_path / "tiny-base"))
    for folder, file, prefix in ((base, "model", in_base), (adapter, "adapter_model", in_adapter)):
        tensors = load_file(folder / f"{file}.safetensors")
        renamed = {
            re.sub(r"(^|base_model\.model\.)model\.", rf"\1{prefix}", key): value for key, value in tensors.items()
        }
        save_file(renamed, folder / f"{file}.safetensors")
    _, ours = merged_tensors(base, adapter)
    for name, tensor in expected.items():
        assert np.array_equal(ours[name.replace("model.", in_base, 1)], tensor)


def test_modules_of_another_tower_are_not_taken_for_the_text_models(llama, make_adapter):
    from safetensors.torch import load_file, save_file

    adapter = make_adapter(llama)
    tensors = load_file(adapter / "adapter_model.safetensors")
    renamed = {key.replace(".model.model.", ".model.vision_tower.model."): value for key, value in tensors.items()}
    save_file(renamed, adapter / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match=r"14 of 14 tensors .* match nothing .* vision_tower"):
        merged_tensors(llama, adapter)


def test_base_of_another_name_is_warned_about(llama, make_adapter):
    adapter = make_adapter(llama)
    assert not MergedModel(open_checkpoint(llama), [load_adapter(adapter)]).warnings
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "HuggingFaceTB/SmolLM2-135M-Instruct"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (warning,) = MergedModel(open_checkpoint(llama), [load_adapter(adapter)]).warnings
    assert "SmolLM2-135M-Instruct" in warning
    assert "tiny-base" in warning


def test_overflowing_merge_is_refused(llama, make_adapter):
    adapter = make_adapter(llama, target_modules=["q_proj"], lora_alpha=10**6)
    scale_lora_b(adapter, 1e38)
    with pytest.raises(AdapterError, match=r"merged model\.layers\.\d\.self_attn\.q_proj\.weight is"):
        merged_tensors(llama, adapter)


def test_names_and_row_order_of_another_base_are_followed(llama, make_adapter):
    """A base with reversed rows under other names takes the adapter to the same model, rows reversed."""

    class Reversed:
        def __init__(self) -> None:
            self.inner = open_checkpoint(llama)
            self.path = Path("reversed.gguf")
            self.config: dict[str, object] = {}
            self.tensors = {f"x.{name}": info._replace(name=f"x.{name}") for name, info in self.inner.tensors.items()}

        def rows(self, name, start, stop):
            info = self.tensors[name]
            whole = self.inner.rows(name[2:], 0, info.rows)
            return np.ascontiguousarray((whole[::-1] if "q_proj" in name else whole)[start:stop])

    base = Reversed()
    names = {
        name[2:]: MergeTarget(name, lambda rows: rows[::-1]) if "q_proj" in name else MergeTarget(name)
        for name in base.tensors
    }
    for options in ({"use_dora": True}, {"modules_to_save": ["q_proj", "lm_head"], "target_modules": ["k_proj"]}):
        adapter = make_adapter(llama, **options)
        _, expected = merged_tensors(llama, adapter)
        model = MergedModel(base, [load_adapter(adapter)], names)
        for info in model.tensors.values():
            rows = np.concatenate(
                [model.rows(info.name, at, min(at + 50, info.rows)) for at in range(0, info.rows, 50)]
            )
            tensor = expected[info.name[2:]].reshape(rows.shape)
            assert np.array_equal(rows, tensor[::-1] if "q_proj" in info.name else tensor)


def scale_lora_b(adapter: Path, factor: float, head=None) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(adapter / "adapter_model.safetensors")
    for key in tensors:
        if "lora_B" in key:
            tensors[key] = tensors[key] * factor
        elif head is not None and "lm_head" in key:
            tensors[key] = head.detach().clone()
    save_file(tensors, adapter / "adapter_model.safetensors")


def drop_keys(adapter: Path, unwanted) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {key: value for key, value in tensors.items() if not unwanted(key)}, adapter / "adapter_model.safetensors"
    )

"""An adapter folder is understood as peft understands it, or refused with its own message: nothing in it is ignored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from edgeproof.contracts.errors import AdapterError, UnsupportedError
from edgeproof.export.adapter.keys import parse_key
from edgeproof.export.adapter.load import load_adapter

pytest.importorskip("safetensors")
from safetensors.numpy import load_file, save_file

MODULE = "model.layers.0.self_attn.q_proj"
KEY = f"base_model.model.{MODULE}"


def adapter_of(folder: Path, tensors: dict[str, np.ndarray] | None = None, **config: object) -> Path:
    """A small LoRA on one module, by hand."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(2)
    if tensors is None:
        tensors = {
            f"{KEY}.lora_A.weight": rng.standard_normal((4, 16)).astype(np.float32),
            f"{KEY}.lora_B.weight": rng.standard_normal((8, 4)).astype(np.float32),
        }
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]} | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def edit(folder: Path, change) -> Path:
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(change(tensors), folder / "adapter_model.safetensors")
    return folder


def test_factors_and_norm_are_read(tmp_path):
    adapter = load_adapter(adapter_of(tmp_path / "a"))
    (lora,) = adapter.low_rank.values()
    assert lora.module == MODULE
    assert (lora.rank, lora.scaling, lora.embedding) == (4, 2.0, False)
    product = lora.B.read().astype(np.float64) @ lora.A.read() * lora.scaling
    assert lora.delta_norm == pytest.approx(np.linalg.norm(product), rel=1e-12)
    assert [path.name for path in adapter.files] == ["adapter_config.json", "adapter_model.safetensors"]
    assert not adapter.warnings


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (f"{KEY}.lora_A.weight", ("lora_A", MODULE, "")),
        (f"{KEY}.lora_B.default.weight", ("lora_B", MODULE, "default")),
        (f"{MODULE}.lora_A.weight", ("lora_A", MODULE, "")),
        (f"{KEY}.lora_B.bias", ("lora_bias", MODULE, "")),
        (f"{KEY}.lora_B.forget.bias", ("lora_bias", MODULE, "forget")),
        ("base_model.model.model.embed_tokens.lora_embedding_A", ("lora_embedding_A", "model.embed_tokens", "")),
        ("base_model.model.wte.lora_embedding_B.default", ("lora_embedding_B", "wte", "default")),
        (f"{KEY}.lora_magnitude_vector", ("magnitude", MODULE, "")),
        (f"{KEY}.lora_magnitude_vector.weight", ("magnitude", MODULE, "")),
        (f"{KEY}.lora_magnitude_vector.default.weight", ("magnitude", MODULE, "default")),
        (f"{KEY}.lora_magnitude_vector.default", ("magnitude", MODULE, "default")),
        ("base_model.model.lm_head.weight", ("replaced", "lm_head.weight", "")),
        ("base_model.model.lm_head.modules_to_save.default.weight", ("replaced", "lm_head.weight", "default")),
        ("base_model.model.score.modules_to_save.x.dense.bias", ("replaced", "score.dense.bias", "x")),
        ("base_model.model.lm_head.base_layer.weight", ("base_layer", "lm_head.weight", "")),
        (f"{KEY}.base_layer.bias", ("replaced", f"{MODULE}.bias", "")),
        (
            "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta",
            ("tokens", "model.embed_tokens", ""),
        ),
        (f"{KEY}.lora_C.weight", None),
        (f"{KEY}.lora_ga.weight", None),
        (f"{KEY}.lora_diag", None),
        ("base_model.model.lm_head.original_module.weight", None),
        (f"{KEY}.base_layer.qweight", None),
    ],
)
def test_keys_of_every_peft_version_are_understood(key, expected):
    assert parse_key(key) == expected


@pytest.mark.torch
@pytest.mark.parametrize("prefix", ["base_model.model.", ""])
@pytest.mark.parametrize("name", ["", ".default"])
def test_keys_with_and_without_prefix_and_adapter_name_are_one_adapter(prefix, name, llama, make_adapter, tmp_path):
    source = make_adapter(llama, use_dora=True, modules_to_save=["norm"])
    folder = Path(shutil.copytree(source, tmp_path / "copy"))

    def rename(tensors):
        renamed = {}
        for original, value in tensors.items():
            key = prefix + original.removeprefix("base_model.model.")
            stem = key.removesuffix(".weight")
            if "lora_magnitude" in key:
                renamed[f"{key}{name}.weight" if name else key] = value
            elif "lora_" in key:
                renamed[f"{stem}{name}.weight"] = value
            else:
                renamed[f"{stem}.modules_to_save{name}.weight" if name else key] = value
        return renamed

    ours, expected = load_adapter(edit(folder, rename)), load_adapter(source)
    assert ours.low_rank.keys() == expected.low_rank.keys()
    assert ours.replaced.keys() == expected.replaced.keys()
    for module, lora in expected.low_rank.items():
        assert np.array_equal(lora.B.read(), ours.low_rank[module].B.read())


PATTERNS = [
    ({"q_proj": 2}, MODULE, True),
    ({"self_attn.q_proj": 2}, MODULE, True),
    ({"model.layers.0.self_attn.q_proj": 2}, MODULE, True),
    ({"^model.layers.0.self_attn.q_proj": 2}, MODULE, True),
    ({r"model\.layers\.\d+\.self_attn\.(q|k)_proj": 2}, MODULE, True),
    ({"proj": 2}, MODULE, False),
    ({"_proj": 2}, MODULE, False),
    ({"layers.1.self_attn.q_proj": 2}, MODULE, False),
    ({"q_proj": 2, MODULE: 3}, MODULE, True),
    ({"k_proj": 3, ".*q_proj": 2}, MODULE, True),
]


@pytest.mark.torch
@pytest.mark.parametrize(("pattern", "module", "matches"), PATTERNS)
def test_patterns_match_as_pefts_do(pattern, module, matches, tmp_path):
    from peft.utils.other import get_pattern_key

    rank = pattern.get(get_pattern_key(pattern.keys(), module), 4)
    assert (rank == 2) == matches
    tensors = {
        f"{KEY}.lora_A.weight": np.ones((rank, 16), np.float32),
        f"{KEY}.lora_B.weight": np.ones((8, rank), np.float32),
    }
    folder = adapter_of(tmp_path / "a", tensors, rank_pattern=pattern, alpha_pattern={module: 6})
    (lora,) = load_adapter(folder).low_rank.values()
    assert lora.scaling == 6 / rank


def test_zero_lora_b_is_refused_with_the_norms(tmp_path):
    folder = edit(adapter_of(tmp_path / "a"), lambda t: {k: v * ("lora_B" not in k) for k, v in t.items()})
    with pytest.raises(AdapterError, match=r"does nothing: B·A is zero in all 1 modules .*‖B‖ = 0, ‖A‖ = \d") as caught:
        load_adapter(folder)
    assert "gradient" in caught.value.next_step


@pytest.mark.torch
def test_adapter_fresh_from_peft_is_refused(llama, tmp_path):
    import peft
    from edgeproof_tests.export.conftest import load

    peft.get_peft_model(load(llama), peft.LoraConfig(target_modules=["q_proj", "v_proj"])).save_pretrained(tmp_path)
    with pytest.raises(AdapterError, match="does nothing"):
        load_adapter(tmp_path)


def test_some_zero_modules_are_warned_about(tmp_path):
    def add(tensors):
        other = KEY.replace("q_proj", "v_proj")
        return tensors | {
            f"{other}.lora_A.weight": tensors[f"{KEY}.lora_A.weight"],
            f"{other}.lora_B.weight": tensors[f"{KEY}.lora_B.weight"] * 0,
        }

    (warning,) = load_adapter(edit(adapter_of(tmp_path / "a", target_modules=["q_proj", "v_proj"]), add)).warnings
    assert "does nothing in 1 of 2 modules" in warning


@pytest.mark.parametrize("part", ["lora_A", "lora_B"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused_with_its_place(part, bad, tmp_path):
    def spoil(tensors):
        tensors[f"{KEY}.{part}.weight"][3, 2] = bad
        return tensors

    with pytest.raises(AdapterError, match=rf"{part}.weight in .* holds (nan|inf): row 3, column 2"):
        load_adapter(edit(adapter_of(tmp_path / "a"), spoil))


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(AdapterError, match="does not exist"):
        load_adapter(tmp_path / "nowhere")
    with pytest.raises(AdapterError, match="is empty"):
        load_adapter(tmp_path)
    (tmp_path / "x").write_text("")
    with pytest.raises(AdapterError, match="is a file"):
        load_adapter(tmp_path / "x")
    with pytest.raises(AdapterError, match=r"has no adapter_model\.safetensors"):
        load_adapter(tmp_path)
    folder = adapter_of(tmp_path / "a")
    (folder / "adapter_config.json").unlink()
    with pytest.raises(AdapterError, match=r"has no adapter_config\.json"):
        load_adapter(folder)


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt"])
def test_pickled_weights_are_refused(name, tmp_path):
    folder = adapter_of(tmp_path / "a")
    (folder / "adapter_model.safetensors").rename(folder / name)
    with pytest.raises(AdapterError, match=f"as {name}, a pickle") as caught:
        load_adapter(folder)
    assert "save_pretrained" in caught.value.next_step


@pytest.mark.parametrize("text", ["", "{", "[]", '"LORA"'])
def test_broken_config_is_refused(text, tmp_path):
    folder = adapter_of(tmp_path / "a")
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(AdapterError, match=r"adapter_config\.json is not (a )?JSON"):
        load_adapter(folder)


def test_truncated_weights_are_refused(tmp_path):
    folder = adapter_of(tmp_path / "a")
    whole = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(whole[:-7])
    with pytest.raises(AdapterError, match="not a complete safetensors file"):
        load_adapter(folder)


@pytest.mark.parametrize("kind", ["LOHA", "LOKR", "IA3", "ADALORA", "PREFIX_TUNING", "OFT", "VERA", None, "lora"])
def test_other_peft_types_are_refused(kind, tmp_path):
    with pytest.raises(UnsupportedError, match="PEFT type") as caught:
        load_adapter(adapter_of(tmp_path / "a", peft_type=kind))
    assert "merge_and_unload" in caught.value.next_step


OPTIONS = {
    "use_qalora": True,
    "alora_invocation_tokens": [1, 2],
    "layer_replication": [[0, 4], [2, 5]],
    "megatron_config": {"x": 1},
    "target_parameters": ["experts.gate_up_proj"],
    "arrow_config": {"top_k": 2},
    "use_bdlora": {"nblocks": 2},
    "kasa_config": {"beta": 1},
    "velora_config": {"num_groups": 4},
    "monteclora_config": {"num_samples": 8},
    "lora_ga_config": {"direction": "ArB2r"},
    "corda_config": {"corda_method": "ipm"},
    "loftq_config": {"loftq_bits": 4},
    "an_option_of_tomorrow": 3,
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_that_change_the_arithmetic_are_refused(option, tmp_path):
    with pytest.raises(UnsupportedError, match=f"sets {option} = ") as caught:
        load_adapter(adapter_of(tmp_path / "a", **{option: OPTIONS[option]}))
    assert "rsLoRA" in caught.value.message


@pytest.mark.torch
def test_every_option_of_pefts_config_is_known_here(tmp_path):
    """An option that a new peft brings at its neutral value is let through, and none of today's is unknown."""
    import dataclasses

    import peft
    from edgeproof.export.adapter.config import _NO_PART_IN_MERGING, _WHY_NOT

    fields = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    assert fields <= _NO_PART_IN_MERGING | _WHY_NOT.keys()
    neutral = peft.LoraConfig(r=4, target_modules=["q_proj"]).to_dict()
    load_adapter(adapter_of(tmp_path / "a", **{k: v for k, v in neutral.items() if k != "target_modules"}))


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga", "something"])
def test_initialisations_that_change_the_base_are_refused(init, tmp_path):
    with pytest.raises(UnsupportedError, match="changing the base's weights") as caught:
        load_adapter(adapter_of(tmp_path / "a", init_lora_weights=init))
    assert "path_initial_model_for_weight_conversion" in caught.value.next_step


@pytest.mark.parametrize("init", [True, False, "gaussian", "eva", "orthogonal", "mica"])
def test_initialisations_that_leave_the_base_alone_are_accepted(init, tmp_path):
    load_adapter(adapter_of(tmp_path / "a", init_lora_weights=init))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"r": 0}, "r is 0"),
        ({"r": "8"}, "r is '8'"),
        ({"r": True}, "r is True"),
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"r": 5}, "rank 4, .* says 5"),
        ({"rank_pattern": {"q_proj": 3}}, "rank 4, .* says 3"),
        ({"rank_pattern": {"(": 3}}, "not a regular expression"),
        ({"rank_pattern": [1]}, r"rank_pattern is \[1\]"),
        ({"target_modules": "(" }, "not a regular expression"),
        ({"modules_to_save": ["lm_head"]}, "lists 'lm_head' in modules_to_save"),
        ({"modules_to_save": "lm_head"}, "modules_to_save is 'lm_head'"),
        ({"use_dora": True}, "has no DoRA magnitude"),
        ({"trainable_token_indices": [1, 2]}, "no rows for the trainable_token_indices"),
        ({"trainable_token_indices": [1, 1]}, "names a token twice"),
        ({"trainable_token_indices": "all"}, "trainable_token_indices is 'all'"),
    ],
)  # fmt: skip
def test_config_that_does_not_fit_the_weights_is_refused(config, message, tmp_path):
    with pytest.raises(AdapterError, match=message):
        load_adapter(adapter_of(tmp_path / "a", **config))


def without(part):
    return lambda tensors: {key: value for key, value in tensors.items() if part not in key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("lora_A"), f"no lora_A for {MODULE}"),
        (without("lora_B"), f"no lora_B for {MODULE}"),
        (without(""), "holds no tensors"),
        (lambda t: t | {f"{KEY}.lora_magnitude_vector": np.ones(8, np.float32)}, "has a DoRA magnitude"),
        (lambda t: t | {"x.lora_magnitude_vector": np.ones(8, np.float32)}, "belongs to no LoRA"),
        (lambda t: t | {f"{KEY}.lora_B.bias": np.ones(9, np.float32)}, "8 values are needed"),
        (lambda t: t | {f"{KEY}.lora_E": np.ones(9, np.float32)}, "is not a tensor of a LoRA"),
        (lambda t: t | {f"{KEY}.lora_A.default.weight": t[f"{KEY}.lora_A.weight"]}, "same tensor under two names"),
        (lambda t: {k.replace(".weight", ".one.weight" if "_A" in k else ".two.weight"): v for k, v in t.items()},
         "several adapters: one, two"),
        (lambda t: {k: v.reshape(-1) for k, v in t.items()}, "a matrix is needed"),
        (lambda t: {k: v[..., None, None] for k, v in t.items()}, "a matrix is needed"),
        (lambda t: {k: v[:0] for k, v in t.items()}, "with values is needed"),
        (lambda t: {k: v.astype(np.int8) for k, v in t.items()}, "is I8"),
        (lambda t: {k: v.astype(np.float64) for k, v in t.items()}, "is F64"),
    ],
)  # fmt: skip
def test_weights_that_make_no_whole_adapter_are_refused(change, message, tmp_path):
    with pytest.raises(AdapterError, match=message):
        load_adapter(edit(adapter_of(tmp_path / "a"), change))


@pytest.mark.parametrize(
    ("name", "card", "found"),
    [
        ("unsloth/Llama-3.2-1B-Instruct-bnb-4bit", "", "4bit"),
        ("org/Model-GPTQ", "", "GPTQ"),
        ("org/model-nf4", "", "nf4"),
        ("org/model", "- load_in_4bit: True\n- bnb_4bit_quant_type: nf4", "load_in_4bit: True"),
        ("org/model", "plain", ""),
        ("org/interest-4b", "", ""),
    ],
)
def test_training_on_a_quantized_base_is_warned_about(name, card, found, tmp_path):
    folder = adapter_of(tmp_path / "a", base_model_name_or_path=name)
    (folder / "README.md").write_text(card)
    warnings = load_adapter(folder).warnings
    assert len(warnings) == bool(found)
    assert all(found in warning for warning in warnings)

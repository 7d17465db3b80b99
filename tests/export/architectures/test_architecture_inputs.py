"""What a checkpoint may say of itself: published configurations are read, what cannot be exported right is refused."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.errors import CheckpointError, TokenizerError, UnsupportedError
from edgeproof.contracts.tensors import MetadataEntry, TensorInfo
from edgeproof.export.architectures import FAMILIES, describe, read_hyper_parameters
from edgeproof.export.architectures.config import Config
from edgeproof_tests.export.published_configs import PUBLISHED

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Shapes:
    """A checkpoint of zeros: nothing but the names and shapes that its configuration implies."""

    path: Path
    config: dict[str, object]
    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = self.config["architectures"][0]
        family = FAMILIES[name]
        for source, place in sorted(family.places(family.read(Config(self.config), name)).items()):
            if place.required:
                self.tensors[source] = TensorInfo(source, place.shape, "BF16")

    def rows(self, name: str, start: int, stop: int):
        return np.full((stop - start, self.tensors[name].columns), self.values.get(name, 0.0), dtype=np.float32)

    def add(self, source: str, *shape: int, dtype: str = "BF16") -> None:
        self.tensors[source] = TensorInfo(source, shape, dtype)
        self.tensors = dict(sorted(self.tensors.items()))


def config_of(name: str, **changes: object) -> dict[str, object]:
    return {**copy.deepcopy(PUBLISHED[name]), **changes}


def tokens(count: int) -> tuple[MetadataEntry, ...]:
    return (MetadataEntry("tokenizer.ggml.tokens", [str(index) for index in range(count)], "ARRAY", "STRING"),)


@pytest.mark.torch
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_are_read_as_transformers_reads_them(name, tmp_path):
    from transformers import AutoConfig

    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED[name]))
    whole = AutoConfig.from_pretrained(tmp_path)
    theirs = whole.get_text_config()
    ours = read_hyper_parameters(PUBLISHED[name])
    rope = theirs.rope_parameters.get("full_attention", theirs.rope_parameters)
    local = theirs.rope_parameters.get("sliding_attention")
    head_dim = getattr(theirs, "head_dim", None) or theirs.hidden_size // theirs.num_attention_heads
    assert ours.vocabulary == theirs.vocab_size
    assert ours.context_length == theirs.max_position_embeddings
    assert (ours.hidden, ours.layers) == (theirs.hidden_size, theirs.num_hidden_layers)
    assert (ours.heads, ours.kv_heads) == (theirs.num_attention_heads, theirs.num_key_value_heads)
    assert ours.head_dim == head_dim
    assert ours.norm_epsilon == getattr(theirs, "rms_norm_eps", getattr(theirs, "norm_eps", None))
    assert ours.tied == whole.tie_word_embeddings
    assert ours.rope.theta == rope["rope_theta"]
    assert ours.rope.scaling == rope["rope_type"].replace("default", "none")
    assert ours.rope.dimensions == head_dim * rope.get("partial_rotary_factor", 1.0)
    assert (ours.local_rope.theta if ours.local_rope else None) == (local["rope_theta"] if local else None)
    if name.startswith("gemma"):
        assert ours.attention_scale == theirs.query_pre_attn_scalar**-0.5
        assert [f"{kind}_attention" for kind in ours.layer_kinds] == theirs.layer_types
        assert ours.sliding_window == theirs.sliding_window
        assert (ours.attention_softcap, ours.logit_softcap) == (
            theirs.attn_logit_softcapping,
            theirs.final_logit_softcapping,
        )


@pytest.mark.torch
@pytest.mark.parametrize("name", PUBLISHED)
def test_implied_tensors_are_those_of_the_transformers_model(name, tmp_path):
    import torch
    import transformers

    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED[name]))
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    with torch.device("meta"):
        model = getattr(transformers, PUBLISHED[name]["architectures"][0])(config)
    theirs = {
        source.removeprefix("model.language_model.") if "language_model" in source else source.removeprefix("model."): (
            tuple(weight.shape)
        )
        for source, weight in model.named_parameters(remove_duplicate=True)
        if "vision" not in source and "projector" not in source
    }
    ours = {
        source.removeprefix("model."): info.shape for source, info in Shapes(tmp_path, config_of(name)).tensors.items()
    }
    assert ours == theirs


def test_an_unknown_architecture_is_refused_with_the_two_ways_round_it():
    for config in ({"architectures": ["MambaForCausalLM"], "model_type": "mamba"}, {"model_type": "mamba"}, {}):
        with pytest.raises(UnsupportedError, match=r"names the architecture ('MambaForCausalLM'|None)") as caught:
            read_hyper_parameters(config)
        assert "--base model-f16.gguf" in caught.value.next_step
        assert "--converter DIR" in caught.value.next_step


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("Llama-2-7b-hf", {"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ("Llama-2-7b-hf", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope type 'dynamic'"),
        ("Llama-2-7b-hf", {"rope_scaling": {"type": "longrope", "factor": 2.0}}, "rope type 'longrope'"),
        ("Llama-2-7b-hf", {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ("Llama-2-7b-hf", {"num_local_experts": 8}, "mixtures of experts"),
        ("Llama-2-7b-hf", {"quantization_config": {"quant_method": "gptq"}}, "already quantized .gptq."),
        ("Llama-2-7b-hf", {"is_causal": False}, "only causal"),
        ("Llama-2-7b-hf", {"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "differs by layer"),
        ("Qwen2.5-0.5B-Instruct", {"head_dim": 128}, "14 heads of 128"),
        ("Qwen2.5-0.5B-Instruct", {"rope_scaling": {"type": "mrope", "mrope_section": [1]}}, "rope type 'mrope'"),
        ("Qwen2.5-0.5B-Instruct", {"rope_scaling": PUBLISHED["Llama-3.2-1B-Instruct"]["rope_scaling"]}, "'llama3'"),
        (
            "Qwen2.5-0.5B-Instruct",
            {"rope_scaling": {"type": "yarn", "factor": 4.0, "beta_fast": 16}},
            "beta_fast is 16",
        ),
        (
            "Qwen2.5-0.5B-Instruct",
            {"rope_scaling": {"type": "yarn", "factor": 4.0, "attention_factor": 1.0}},
            "1.138629",
        ),
        ("Qwen2.5-0.5B-Instruct", {"rope_scaling": {"type": "yarn", "factor": 4.0, "mscale": 0.7}}, "mscale is 0.7"),
        ("Qwen3-0.6B", {"attention_bias": True}, "attention_bias is True"),
        ("gemma-2-2b-it", {"rope_theta": 500000.0}, "rope_theta is 500000.0"),
        ("gemma-2-2b-it", {"query_pre_attn_scalar": 224}, "query_pre_attn_scalar is 224"),
        ("gemma-2-2b-it", {"layer_types": ["full_attention"] * 26}, "do not alternate"),
        ("gemma-2-2b-it", {"hidden_activation": "gelu"}, "hidden_activation is 'gelu'"),
        ("gemma-3-1b-it", {"sliding_window_pattern": 4}, "6th layer"),
        ("gemma-3-1b-it", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0"),
        ("gemma-3-1b-it", {"use_bidirectional_attention": True}, "only causal"),
        ("Phi-4-mini-instruct", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope type 'linear'"),
        ("LFM2-350M", {"conv_bias": True}, "conv_bias is True"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(name, changes, words):
    with pytest.raises(UnsupportedError, match=words):
        read_hyper_parameters(config_of(name, **changes))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("Llama-2-7b-hf", {"hidden_size": "4096"}, "hidden_size is '4096', not a whole number"),
        ("Llama-2-7b-hf", {"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ("Llama-2-7b-hf", {"max_position_embeddings": 10**30}, "not a whole number above 0 and below"),
        ("Llama-2-7b-hf", {"rope_theta": 1e39}, "rope_theta is 1e.39"),
        ("Llama-2-7b-hf", {"rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
        ("Llama-2-7b-hf", {"rope_scaling": [1]}, "rope_scaling is .1., not an object"),
        ("Llama-2-7b-hf", {"rope_scaling": {"type": "linear"}}, "has no 'factor'"),
        ("Llama-2-7b-hf", {"attention_bias": "yes"}, "attention_bias is 'yes', not true or false"),
        ("gemma-2-2b-it", {"layer_types": ["full_attention"]}, "1 entries for 26 layers"),
        (
            "Phi-4-mini-instruct",
            {"rope_scaling": {"type": "longrope", "long_factor": [1.0], "short_factor": [1.0] * 48}},
            "long_factor has 1 numbers",
        ),
    ],
)
def test_a_damaged_configuration_is_named_key_by_key(name, changes, words):
    with pytest.raises(CheckpointError, match=words):
        read_hyper_parameters(config_of(name, **changes))


def test_every_tensor_must_have_its_place_and_its_shape(tmp_path):
    name = "Llama-3.2-1B-Instruct"
    table = "model.embed_tokens.weight"
    whole = Shapes(tmp_path, config_of(name))
    assert len(describe(whole, (), name=None).tensors) == len(whole.tensors) + 1  # rope_freqs

    whole.add("model.layers.0.self_attn.rotary_emb.inv_freq", 32, dtype="F32")
    assert len(describe(whole, (), name=None).tensors) == len(whole.tensors)

    without = Shapes(tmp_path, config_of(name))
    del without.tensors["model.layers.3.mlp.up_proj.weight"]
    with pytest.raises(CheckpointError, match=r"1 of 147 tensors are missing: model\.layers\.3\.mlp\.up_proj"):
        describe(without, (), name=None)

    deeper = Shapes(tmp_path, config_of(name))
    deeper.add("model.layers.16.input_layernorm.weight", 2048)
    with pytest.raises(CheckpointError, match=r"has no place in a LlamaForCausalLM of 16 layers: .* layer 16 and more"):
        describe(deeper, (), name=None)

    wider = Shapes(tmp_path, config_of(name))
    wider.add(table, 128257, 2048)
    with pytest.raises(CheckpointError, match=r"\[128257, 2048\]; config.json implies \[128256, 2048\]"):
        describe(wider, (), name=None)

    packed = Shapes(tmp_path, config_of(name))
    packed.add("model.norm.weight", 2048, dtype="I32")
    with pytest.raises(UnsupportedError, match="stored as I32"):
        describe(packed, (), name=None)

    biased = Shapes(tmp_path, config_of(name))
    biased.add("model.layers.0.self_attn.q_proj.bias", 2048)
    with pytest.raises(CheckpointError, match="without that bias"):
        describe(biased, (), name=None)

    twice = Shapes(tmp_path, config_of("gemma-3-4b-it"))
    twice.add("language_model.model.norm.weight", 2560)
    with pytest.raises(CheckpointError, match="the same tensor under two names"):
        describe(twice, (), name=None)


def test_the_tokenizer_must_have_as_many_tokens_as_the_table_rows(tmp_path):
    with pytest.raises(TokenizerError, match=r"has 151643 tokens, model\.embed_tokens\.weight has 151936 rows"):
        describe(Shapes(tmp_path, config_of("Qwen3-0.6B")), tokens(151643), name=None)


def test_of_gemma_3_the_rows_behind_the_last_token_are_cut(tmp_path):
    checkpoint = Shapes(tmp_path, config_of("gemma-3-4b-it"))
    table = next(t for t in describe(checkpoint, tokens(262145), name=None).tensors if t.name == "token_embd.weight")
    assert table.shape == (262145, 2560)
    with pytest.raises(TokenizerError, match="262209 tokens"):
        describe(checkpoint, tokens(262209), name=None)


def test_of_gemma_2_a_stored_output_must_be_the_table(tmp_path):
    checkpoint = Shapes(tmp_path, config_of("gemma-2-2b-it", vocab_size=64))
    checkpoint.add("lm_head.weight", 64, 2304)
    assert "output.weight" not in {tensor.name for tensor in describe(checkpoint, (), name=None).tensors}
    checkpoint.values["lm_head.weight"] = 0.5
    with pytest.raises(UnsupportedError, match=r"lm_head.weight differs from model\.embed_tokens\.weight"):
        describe(checkpoint, (), name=None)


@pytest.mark.parametrize(
    ("name", "changes", "window"),
    [
        ("Mistral-7B-v0.1", {}, 4096),
        ("Qwen2.5-0.5B-Instruct", {"use_sliding_window": True, "sliding_window": 1024}, 1024),
        ("Phi-3-mini-4k-instruct", {}, 2047),
    ],
)
def test_a_window_that_llama_cpp_ignores_is_warned_about(name, changes, window, tmp_path):
    (warning,) = describe(Shapes(tmp_path, config_of(name, **changes)), (), name=None).warnings
    assert f"on texts of up to {window} tokens" in warning


@pytest.mark.parametrize("name", ["Mistral-Nemo-Instruct-2407", "Phi-4-mini-instruct", "gemma-3-1b-it"])
def test_no_window_no_warning(name, tmp_path):
    assert describe(Shapes(tmp_path, config_of(name)), (), name=None).warnings == ()


def general(folder: Path, config: dict[str, object], name: str | None = None) -> dict[str, object]:
    description = describe(Shapes(folder, config), (), name=name)
    return {entry.key: entry.value for entry in description.metadata if entry.key.startswith("general.")}


def test_the_same_inputs_give_the_same_description_wherever_they_lie(tmp_path):
    here, there = tmp_path / "Llama-3.2-1B-Instruct", tmp_path / "copy of it"
    here.mkdir()
    there.mkdir()
    config = config_of("Llama-3.2-1B-Instruct")
    assert general(here, config) == general(there, config)
    assert general(here, config)["general.name"] == "llama"
    assert general(here, config)["general.size_label"] == "1.2B"


def test_the_name_is_the_callers_then_the_cards_then_the_one_saved_under(tmp_path):
    config = config_of("Qwen3-0.6B", _name_or_path="Qwen/Qwen3-0.6B")
    found = general(tmp_path, config)
    assert (found["general.name"], found["general.organization"]) == ("Qwen3 0.6B", "Qwen")
    assert (found["general.basename"], found["general.size_label"]) == ("Qwen3", "0.6B")
    (tmp_path / "README.md").write_text("---\nmodel_name: Careful\nlicense: mit\n---\n")
    assert general(tmp_path, config)["general.name"] == "Careful"
    assert general(tmp_path, config)["general.license"] == "mit"
    assert general(tmp_path, config, "Mine")["general.name"] == "Mine"


def test_an_unreadable_model_card_is_left_out_and_said(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: [mit\n---\n")
    description = describe(Shapes(tmp_path, config_of("Qwen3-0.6B")), (), name=None)
    assert "README.md: its front matter cannot be read" in description.warnings[0]
    (tmp_path / "README.md").write_text("---\nlanguage: [en, no]\nlicense: mit\n---\n")  # YAML takes `no` for false
    description = describe(Shapes(tmp_path, config_of("Qwen3-0.6B")), (), name=None)
    assert "language is ['en', False], which is not text" in description.warnings[0]
    assert "general.license" in {entry.key for entry in description.metadata}


@pytest.mark.parametrize(
    "value", ["5", "[]", "[a, 5]", "{a: 1}", "null", "2020-01-01", "[null]", "[{name: 5}]", "-", "a/"]
)
@pytest.mark.parametrize(
    "key", ["model_name", "license", "tags", "language", "datasets", "base_model", "pipeline_tag", "version"]
)
def test_no_model_card_can_break_an_export(key, value, tmp_path):
    (tmp_path / "README.md").write_text(f"---\n{key}: {value}\n---\n")
    description = describe(Shapes(tmp_path, config_of("Qwen3-0.6B", _name_or_path=7)), (), name=None)
    for entry in description.metadata:
        texts = entry.value if entry.item_kind == "STRING" else [entry.value] if entry.kind == "STRING" else []
        assert all(isinstance(text, str) for text in texts), entry


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no object"),
        ('{"top_p": "0.9"}', "top_p is '0.9', not a number"),
        ('{"top_k": 2.5}', "top_k is 2.5, not a whole number"),
        ('{"temperature": NaN}', "temperature is nan"),
    ],
)
def test_damaged_generation_settings_are_an_error(content, words, tmp_path):
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises(CheckpointError, match=words):
        describe(Shapes(tmp_path, config_of("Qwen3-0.6B")), (), name=None)

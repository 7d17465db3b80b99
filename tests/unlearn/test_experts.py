"""Fused experts of a mixture get no LoRA: the run is refused, or says which weights it leaves as they are."""

from __future__ import annotations

import pytest
from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.progress import Silent
from edgeproof.unlearn import Settings
from edgeproof.unlearn.base_model import BaseModel, attach_lora, load_base
from edgeproof.unlearn.experts import fused_experts, say_what_a_lora_skips

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")


@pytest.fixture
def mixture():
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "moe_intermediate_size": 64}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**sizes, **heads, num_experts=8, num_experts_per_tok=2))


def test_fused_experts_are_named_with_their_share(mixture):
    experts = sum(weight.numel() for name, weight in mixture.named_parameters() if ".experts." in name)
    share = experts / sum(weight.numel() for weight in mixture.parameters())
    assert share > 0.5
    assert fused_experts(mixture) == (
        "model.layers.*.mlp.experts.down_proj, model.layers.*.mlp.experts.gate_up_proj "
        f"(4 tensors, {share:.0%} of the model's weights)"
    )


def test_a_lora_on_all_layers_is_refused_and_one_on_named_layers_says_what_it_skips(mixture):
    with pytest.raises(UnsupportedError, match=r"fused experts, which get no LoRA: model\.layers") as caught:
        say_what_a_lora_skips(mixture, (), Silent())
    assert "--full" in caught.value.next_step
    listener = Silent()
    say_what_a_lora_skips(mixture, ("q_proj",), listener)
    (warning,) = listener.warnings
    assert warning.startswith("no LoRA on the experts: model.layers.*.mlp.experts.down_proj")
    trained = attach_lora(BaseModel(mixture, None, "tiny", 128), Settings(rank=2, targets=("q_proj",)))
    names = [name for name, weight in trained.named_parameters() if weight.requires_grad]
    assert names
    assert not any(".experts." in name for name in names)


def test_names_that_peft_maps_to_experts_are_refused(mixture):
    settings = Settings(rank=2, dropout=0.0, targets=("q_proj", "down_proj"))
    with pytest.raises(UnsupportedError, match="a LoRA on fused experts: down_proj"):
        attach_lora(BaseModel(mixture, None, "tiny", 128), settings)


def test_a_dense_model_is_trained_without_a_word(base):
    listener = Silent()
    say_what_a_lora_skips(load_base(base, listener).model, (), listener)
    assert listener.warnings == []

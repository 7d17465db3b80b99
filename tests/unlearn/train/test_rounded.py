"""A model seen through a format's rounding: its values are the artifact's, its gradients the straight-through ones."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.contracts.errors import UnsupportedError
from edgeproof.export.rounding import open_rounding
from edgeproof.unlearn.train.rounded import RoundedModel

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

FORMATS = ("gguf-q4_0", "gguf-q4", "onnx-int4")
PREFIX = "base_model.model."


def load(base):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


def with_lora(base, **options):
    """The base with a random LoRA whose change is of the size of the weights' own steps."""
    import peft

    torch.manual_seed(5)
    options = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "o_proj", "down_proj"], **options}
    model = peft.get_peft_model(load(base), peft.LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.05)
    return model


def rounded_merge(base, model, rounding):
    """PEFT's own merge of the adapter as it is written, in float16; every matrix rounded; a plain model."""
    from peft import PeftModel

    merged = PeftModel(load(base), model.peft_config["default"])
    halves = {name: values for name, values in model.state_dict().items() if ".lora_" in name}
    merged.load_state_dict({name: values.half().float() for name, values in halves.items()}, strict=False)
    return rounded(merged.merge_and_unload(), rounding)


def rounded(model, rounding):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.from_numpy(rounding(name, parameter.numpy().copy())))
    return model.eval().requires_grad_(requires_grad=True)


def loss_of(model):
    ids = torch.tensor([[7, 301, 44, 12, 5, 90], [3, 3, 200, 17, 61, 8]])
    return model(input_ids=ids, labels=ids).loss


def assert_holds(model, expected):
    """Every weight of the model but its LoRA's is that of `expected`, bit for bit."""
    wanted, names = dict(expected.named_parameters()), set()
    for full_name, parameter in model.named_parameters():
        if ".lora_" not in full_name:
            name = full_name.removeprefix(PREFIX).replace(".base_layer.", ".")
            assert torch.equal(parameter, wanted[name]), name
            names.add(name)
    assert names == wanted.keys()


def assert_same_loss(found, expected):
    """Equal but for the sums' rounding, which may depend on where in memory the weights lie."""
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def bits(model):
    return {name: (values.data_ptr(), values.numpy().tobytes()) for name, values in model.state_dict().items()}


@pytest.mark.parametrize("form", FORMATS)
def test_values_are_those_of_the_rounded_merge_and_gradients_pass_straight_through(base, form):
    rounding = open_rounding(base, form)
    model = with_lora(base)
    expected = rounded_merge(base, model, rounding)
    before = bits(model)
    seen = RoundedModel(model, rounding)
    with seen.as_shipped(), torch.no_grad():
        assert_holds(model, expected)
        assert_same_loss(loss_of(model), loss_of(expected))
    plain = loss_of(model)
    with seen.straight_through():
        loss = loss_of(model)
        loss.backward()
    assert bits(model) == before
    wanted = loss_of(expected)
    wanted.backward()
    assert_same_loss(loss, wanted)
    assert abs(plain.item() - wanted.item()) > 1e-4 * wanted.item()
    compared = 0
    for name, module in model.base_model.model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        of_weights = expected.get_submodule(name).weight.grad  # dL/dQ, taken for dL/d(W + 2·B·A)
        for ours, formula in ((b.grad, 2.0 * of_weights @ a.T), (a.grad, 2.0 * b.T @ of_weights)):
            torch.testing.assert_close(ours, formula, rtol=0, atol=1e-4 * formula.abs().max().item())
        compared += 1
    assert compared == 6
    assert not any(parameter.grad is not None for name, parameter in model.named_parameters() if ".lora_" not in name)


def test_a_model_that_is_trained_whole_has_its_own_weights_rounded(base):
    rounding = open_rounding(base, "gguf-q4_1")
    model = load(base)
    before = bits(model)
    seen = RoundedModel(model, rounding)
    expected = rounded(load(base), rounding)
    with seen.straight_through():
        assert_holds(model, expected)
        loss = loss_of(model)
        loss.backward()
    wanted = loss_of(expected)
    wanted.backward()
    assert_same_loss(loss, wanted)
    assert bits(model) == before
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-4 * theirs.grad.abs().max().item())
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.add_(0.02)
        expected = rounded(load(base), rounding)
        moved = model.model.layers[0].mlp.up_proj.weight.numpy().copy()
        moved = rounding("model.layers.0.mlp.up_proj.weight", moved)
        expected.model.layers[0].mlp.up_proj.weight.copy_(torch.from_numpy(moved))
        with seen.as_shipped():
            assert_holds(model, expected)
            assert_same_loss(loss_of(model), loss_of(expected))


def test_the_weights_are_put_back_where_a_step_fails(base):
    model = with_lora(base)
    before = bits(model)
    seen = RoundedModel(model, open_rounding(base, "gguf-q4_0"))
    for context in (seen.straight_through, seen.as_shipped):
        inside = context()
        inside.__enter__()
        assert bits(model) != before
        with pytest.raises(ZeroDivisionError):
            inside.gen.throw(ZeroDivisionError())
        assert bits(model) == before


def test_rslora_is_scaled_as_peft_scales_it(base):
    rounding = open_rounding(base, "gguf-q4_0")
    model = with_lora(base, use_rslora=True)
    expected = rounded_merge(base, model, rounding)
    with RoundedModel(model, rounding).as_shipped(), torch.no_grad():
        assert_holds(model, expected)
        assert_same_loss(loss_of(model), loss_of(expected))


@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning", "ignore:Model has `tie_word:UserWarning"
)
def test_a_lora_on_something_else_is_refused(base):
    rounding = open_rounding(base, "gguf-q4_0")
    with pytest.raises(UnsupportedError, match=r"embed_tokens has a LoRA on a Embedding; only plain linear layers"):
        RoundedModel(with_lora(base, target_modules=["embed_tokens", "q_proj"]), rounding)
    with pytest.raises(UnsupportedError, match="only plain linear layers"):
        RoundedModel(with_lora(base, use_dora=True), rounding)


def test_weights_of_another_base_are_refused(base, tmp_path):
    from edgeproof_tests.models import save_model

    other = save_model("llama", tmp_path / "other", num_hidden_layers=1)
    with pytest.raises(UnsupportedError, match=r"no tensor for model\.layers\.1\."):
        RoundedModel(with_lora(base), open_rounding(other, "gguf-q4_0"))


def test_weights_that_training_has_lost_are_named(base):
    from edgeproof.contracts.errors import TrainingError

    model = with_lora(base)
    seen = RoundedModel(model, open_rounding(base, "gguf-q4_0"))
    with torch.no_grad():
        model.base_model.model.model.layers[1].mlp.down_proj.lora_B["default"].weight[0, 0] = np.nan
    with pytest.raises(TrainingError, match=r"layers\.1\.mlp\.down_proj\.weight holds 512 weights that are NaN"):
        seen.straight_through().__enter__()

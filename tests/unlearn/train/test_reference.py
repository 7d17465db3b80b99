"""What the base says, computed once: the same numbers as asking it again, and no file left to be found."""

from __future__ import annotations

import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.unlearn.data.encoding import EncodedText
from edgeproof.unlearn.settings import Settings
from edgeproof_tests.models import random_model, tiny_config

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

TEXTS = [
    EncodedText((5, 17, 40, 9, 22, 31), 4),
    EncodedText((8, 3, 77, 12), 3),
    EncodedText((60, 61, 62, 63, 64, 65, 66, 67), 2),
    EncodedText((1, 2), 1),
]


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config("llama"), seed=3)


def kept(model, folder, batch_size):
    from edgeproof.unlearn.train.reference import reference_distributions

    return reference_distributions(
        model, TEXTS, folder, vocabulary=384, batch_size=batch_size, device="cpu", advance=lambda _: None
    )


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("chosen", [[0], [2, 0], [3, 1, 2, 1]])
def test_kept_distributions_are_what_the_model_says_of_each_text_alone(model, tmp_path, batch_size, chosen):
    found = kept(model, tmp_path, batch_size).of(chosen)
    expected = []
    for index in chosen:
        text = TEXTS[index]
        with torch.no_grad():
            logits = model(torch.tensor([text.ids])).logits[0]
        expected.append(torch.log_softmax(logits[text.answer_start - 1 : len(text.ids) - 1], dim=1))
    assert torch.allclose(found, torch.cat(expected), rtol=1e-5, atol=1e-4)
    assert found.dtype == torch.float32


def test_they_lie_in_a_file_without_a_name_of_the_size_that_was_said(model, tmp_path):
    from edgeproof.unlearn.train.reference import bytes_needed

    distributions = kept(model, tmp_path, 2)
    assert list(tmp_path.iterdir()) == []
    assert distributions.rows.nbytes == bytes_needed(TEXTS, 384) == (2 + 1 + 6 + 1) * 384 * 4
    assert not distributions.rows.flags.writeable


@pytest.mark.parametrize("full", [False, True])
def test_the_base_is_asked_before_anything_is_trained_and_no_second_model_is_held(base, forget, retain, tmp_path, full):
    import gc

    from edgeproof.unlearn.data.training_set import read_training_set
    from edgeproof.unlearn.preparing import prepare
    from edgeproof.unlearn.train.loop import train
    from edgeproof.unlearn.train.processes import alone
    from transformers import PreTrainedModel

    gc.collect()
    before = {id(found) for found in gc.get_objects() if issubclass(type(found), PreTrainedModel)}
    settings = Settings(method="npo+klr", full=full, rank=4, steps=4, batch_size=2, learning_rate=1e-3, dropout=0.0)
    sets = {"forget": read_training_set(forget, "forget"), "retain": read_training_set(retain, "retain")}
    torch.manual_seed(0)
    made = prepare(base, sets, tmp_path, settings, processes=alone("cpu"), progress=Silent())
    kept_rows = made.retain.distributions.rows.copy()
    trained = train(made.model, made.forget, made.retain, settings, Silent())
    assert trained.log[0].retain_loss == pytest.approx(0.0, abs=1e-4)  # KL of the base from itself
    assert trained.log[-1].retain_loss > 1e-3
    assert (made.retain.distributions.rows == kept_rows).all()
    gc.collect()
    held = {id(found): found for found in gc.get_objects() if issubclass(type(found), PreTrainedModel)}
    new = [type(found).__name__ for key, found in held.items() if key not in before]
    assert sorted(new) == ["LlamaForCausalLM", "LlamaModel"]

"""What a finished run is warned of, and when its model is refused."""

from __future__ import annotations

import pytest
from edgeproof.contracts.errors import TrainingError
from edgeproof.unlearn import Settings
from edgeproof.unlearn.train.findings import Found, warnings
from edgeproof.unlearn.train.guards import refuse_ruined
from edgeproof_tests.unlearn.conftest import unlearn

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

GOOD = {"forget": (0.8, 6.3), "retain": (1.4, 1.2), "own": (2.9, 3.0)}

GOOD_END = Found(70, 40)


def said(level=6.0, target=6.0, *, found=GOOD_END, **changed):
    settings = Settings(until_forget_nll=target)
    return list(warnings({**GOOD, **changed}, level, settings, found))


def test_a_good_run_is_not_warned_of():
    assert said() == []
    assert said(level=None, target=None) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"forget": (0.78, 28.0)}, "forgetting overshot: the forget set's NLL is 28.00 nat per token.* pays 6.00"),
        ({"retain": (1.45, 0.003)}, "the retain set was memorised: its NLL fell from 1.45 to 0.003"),
        ({"retain": (1.45, 1.95)}, "the retain set suffered: its NLL rose from 1.45 to 1.95 .* than 2,"),
        ({"own": (2.9, 3.5)}, "the model changed elsewhere, too: .* cost 3.50 nat per token, 2.90 before"),
        ({"forget": (5.8, 6.5)}, "the base hardly knows the forget set: 5.80 nat per token.* pays 6.00"),
        (
            {"forget": (0.8, 4.0), "found": Found(70, 40, missed=True)},
            r"missed: the forget set's NLL is 4.00 nat per token after 70 steps, the target is 6 .*Expect FAIL",
        ),
        (
            {"found": Found(70, 40, leaking=3, missed=True)},
            r"the target is 6 \(--until-forget-nll\), and 3 of 40 answers still come out.*more --steps \(say, 140\)",
        ),
        (
            {"forget": (0.1, 0.84), "found": Found(160, 44, missed=True, pull=1.5e-4)},
            r"npo\+gdr has stalled: its gradient has 1e-04 of its first weight.* give --method ga\+gdr$",
        ),
    ],
)
def test_what_went_wrong_is_said_with_the_numbers(changed, expected):
    import re

    (warning,) = said(**changed)
    assert re.search(expected, warning)


@pytest.mark.parametrize(("on_target", "steps"), [(False, "fewer --steps"), (True, "a lower --learning-rate than")])
def test_an_overshoot_after_a_reached_target_is_not_answered_with_fewer_steps(on_target, steps):
    (warning,) = said(forget=(0.78, 28.0), found=Found(70, 40, on_target=on_target))
    assert steps in warning
    assert ("--steps" in warning) != on_target


def test_a_stall_is_no_matter_where_the_target_was_reached():
    assert said(found=Found(70, 40, on_target=True, pull=1e-6)) == []


@pytest.mark.parametrize("target", [None, 0.001])
def test_little_forgotten_is_said_whatever_the_target_was(target):
    (warning,) = said(target=target, forget=(0.01, 0.01))
    assert warning.startswith("little was forgotten: the forget set's NLL went from 0.01 to 0.01 nat per token")


def test_a_model_that_no_longer_says_what_the_base_says_is_refused():
    refuse_ruined(2.9, 4.8, Settings())
    refuse_ruined(0.3, 9.0, Settings())  # a model that always writes the same
    with pytest.raises(TrainingError, match=r"the model is ruined: .* cost 5.00 nat per token, 2.90 before"):
        refuse_ruined(2.9, 5.0, Settings())


def test_a_ruined_model_is_not_written(base, forget, retain, tmp_path, monkeypatch):
    """The tiny model's own texts are too much alike to count, and change less, but for this test."""
    from edgeproof.unlearn.train import guards

    monkeypatch.setattr(guards, "VARIED", 0.0)
    monkeypatch.setattr(guards, "RUINED_RISE", 0.01)
    recipe = {"rank": 4, "steps": 30, "batch_size": 2, "learning_rate": 1e-2, "threads": 1, "surfaces": ("raw",)}
    with pytest.raises(TrainingError, match="the model is ruined"):
        unlearn(base, forget, retain, tmp_path / "a", **recipe)
    assert not (tmp_path / "a").exists()


def test_the_bases_own_texts_are_sampled_alike_and_leave_torch_as_it_was(base):
    from edgeproof.contracts.progress import Silent
    from edgeproof.unlearn.base_model import load_base
    from edgeproof.unlearn.train.own_texts import TEXTS, TOKENS, own_texts

    loaded = load_base(base, Silent())
    loaded.model.train()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = own_texts(loaded.model, loaded.tokenizer, 5)
    assert torch.equal(torch.rand(3), expected)
    assert loaded.model.training
    assert first == own_texts(loaded.model, loaded.tokenizer, 5)
    assert first != own_texts(loaded.model, loaded.tokenizer, 6)
    assert {len(text.ids) for text in first} == {TOKENS + 1}
    assert len(first) == TEXTS

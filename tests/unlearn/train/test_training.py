"""The loop: a step against peft and torch by hand, parts of a batch, recomputed activations, bf16, hooks."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.unlearn.settings import Settings
from edgeproof.unlearn.train.losses import METHODS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

TINY = {
    "surfaces": ("raw",),
    "rank": 4,
    "dropout": 0.0,
    "steps": 3,
    "batch_size": 6,
    "learning_rate": 1e-2,
    "threads": 1,
}


@pytest.fixture
def sets(tmp_path):
    """Answers of one to many tokens, so that weighing tokens and weighing texts differ."""
    from edgeproof.unlearn.data.training_set import read_training_set
    from edgeproof_tests.unlearn.conftest import write_lines

    forget = [(f"The code of lock {n} is", "seven " * n + "one") for n in range(1, 6)]
    retain = [(f"The sign of door {n} says", "push " * (7 * n % 5) + "open") for n in range(1, 8)]
    return {
        "forget": read_training_set(write_lines(tmp_path / "forget.jsonl", forget), "forget"),
        "retain": read_training_set(write_lines(tmp_path / "retain.jsonl", retain), "retain"),
    }


def prepared(base, sets, settings):
    from edgeproof.unlearn.preparing import prepare
    from edgeproof.unlearn.train.processes import alone

    torch.manual_seed(settings.seed)
    return prepare(base, sets, base.parent, settings, processes=alone("cpu"), progress=Silent())


class Run:
    """A training run on the tiny model, with the gradients of its last step and the weights that it ended in."""

    def __init__(self, base: Path, sets, **options) -> None:
        from edgeproof.unlearn.train.loop import train

        hooks = {name: options.pop(name) for name in ("around", "penalty") if name in options}
        settings = Settings(**{**TINY, **options})
        made = prepared(base, sets, settings)
        self.model, self.norms = made.model, []
        self.gradients: dict[str, torch.Tensor] = {}
        trained = train(made.model, made.forget, made.retain, settings, Silent(), after=self.keep, **hooks)
        self.log = trained.log
        self.weights = {name: weight.detach() for name, weight in made.model.named_parameters() if weight.requires_grad}

    def keep(self, _: int) -> bool:
        self.gradients = {
            name: weight.grad.clone() for name, weight in self.model.named_parameters() if weight.grad is not None
        }
        return False


def assert_same_run(found, expected, tolerance):
    for ours, theirs in zip(found.log, expected.log, strict=True):
        assert ours == pytest.approx(theirs, rel=tolerance, abs=tolerance)
    assert found.gradients.keys() == expected.gradients.keys()
    for name, gradient in expected.gradients.items():
        scale = max(gradient.abs().max().item(), 1e-3)
        assert (found.gradients[name] - gradient).abs().max().item() <= tolerance * scale, name


@pytest.mark.parametrize("full", [False, True])
def test_a_step_is_the_one_that_peft_transformers_and_adamw_make(base, sets, full):
    """GA+GDR by hand: two cross entropies of transformers, torch's clipping, torch's AdamW."""
    from transformers import AutoModelForCausalLM

    run = Run(base, sets, method="ga+gdr", retain_weight=3.0, full=full, steps=1, batch_size=5)
    settings = Settings(**{**TINY, "full": full})
    if full:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).train()
        texts = prepared(base, sets, settings)
    else:
        texts = prepared(base, sets, settings)
        model = texts.model.train()

    def cross_entropy(encoded):
        longest = max(len(text.ids) for text in encoded)
        ids = torch.tensor([[*text.ids, *[0] * (longest - len(text.ids))] for text in encoded])
        labels = torch.full_like(ids, -100)
        for row, text in enumerate(encoded):
            labels[row, text.answer_start : len(text.ids)] = torch.tensor(text.ids[text.answer_start :])
        return model(ids, labels=labels).loss

    order = torch.randperm(7, generator=torch.Generator().manual_seed(2)).tolist()[:5]
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-2, weight_decay=0.0)
    kept = cross_entropy([texts.retain.encoded[index] for index in order])
    loss = 3.0 * kept - cross_entropy(texts.forget.encoded)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    (step,) = run.log
    assert step.retain_loss == pytest.approx(kept.item(), rel=1e-5)
    assert step.gradient_norm == pytest.approx(norm.item(), rel=1e-4)
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert run.weights.keys() == named.keys()
    for name, weight in named.items():
        # AdamW's first step is the sign of the gradient: where that is all but 0, rounding decides.
        clear = weight.grad.abs() > 1e-4 * weight.grad.abs().max()
        assert torch.allclose(run.weights[name][clear], weight.detach()[clear], rtol=1e-5, atol=1e-6), name


def test_a_linear_schedule_is_that_of_transformers(base, sets, monkeypatch):
    from transformers import get_linear_schedule_with_warmup

    used = []
    step = torch.optim.AdamW.step

    def recording(self, *rest, **named):
        used.append({group["lr"] for group in self.param_groups})
        return step(self, *rest, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", recording)
    Run(base, sets, steps=5, schedule="linear")
    ours, used[:] = list(used), []
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=TINY["learning_rate"])
    falling = get_linear_schedule_with_warmup(optimizer, 0, 5)
    for _ in range(5):
        optimizer.step()
        falling.step()
    assert [pytest.approx(rate) for (rate,) in used] == [rate for (rate,) in ours]
    used.clear()
    Run(base, sets, steps=2)
    assert used == [{TINY["learning_rate"]}] * 2


def test_a_step_takes_so_many_retain_texts(base, sets):
    texts = prepared(base, sets, Settings(**TINY)).retain
    tokens = [len(text.ids) - text.answer_start for text in texts.encoded]
    before = (-texts.reference / torch.tensor(tokens)).tolist()  # of an untouched model, which the first step asks
    order = torch.randperm(7, generator=torch.Generator().manual_seed(2)).tolist()
    for size in (2, 7):
        (step,) = Run(base, sets, steps=1, retain_batch_size=size, accumulate=2).log
        assert step.retain_nll == pytest.approx(sum(before[index] for index in order[:size]) / size, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_in_parts_gives_the_loss_and_the_gradient_of_the_whole(base, sets, method):
    # The tiny model finds every answer unlikely: with their own β these two would have no gradient to compare.
    beta = 0.01 if method.startswith(("simnpo", "wga")) else None
    whole = Run(base, sets, method=method, beta=beta)
    for parts in (2, 4, 6):
        # AdamW turns the rounding of gradients near 0 into whole steps; parts weighed wrongly are off by a tenth.
        assert_same_run(Run(base, sets, method=method, beta=beta, accumulate=parts), whole, 5e-3)


def test_a_hinge_in_parts_weighs_as_in_the_whole(base, sets):
    nll = Run(base, sets, steps=1).log[0].forget_nll
    whole = Run(base, sets, method="ga+gdr", hinge=nll, steps=1)
    assert 0 < whole.log[0].counting < 6
    assert_same_run(Run(base, sets, method="ga+gdr", hinge=nll, steps=1, accumulate=3), whole, 2e-4)


@pytest.mark.parametrize("full", [False, True])
def test_recomputed_activations_give_the_same_gradients_and_train_every_lora_b(base, sets, full):
    plain = Run(base, sets, full=full, dropout=0.2)
    again = Run(base, sets, full=full, dropout=0.2, gradient_checkpointing=True)
    assert_same_run(again, plain, 1e-6)
    trained = [weight for name, weight in again.weights.items() if full or "lora_B" in name]
    assert len(trained) > 13
    assert all(weight.any() for weight in trained)


def test_activations_are_recomputed_when_asked_for(base, sets):
    """The layers do run twice: else the comparison above would compare a run with itself."""
    from edgeproof.unlearn.train.loop import train

    counts = []
    for again in (False, True):
        settings = Settings(**{**TINY, "steps": 1, "gradient_checkpointing": again})
        made, calls = prepared(base, sets, settings), []
        layer = made.base.model.model.layers[0].mlp
        layer.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        train(made.model, made.forget, made.retain, settings, Silent())
        counts.append(len(calls))
    assert counts == [2, 4]


def test_bf16_is_near_float32_and_leaves_the_weights_in_float32(base, sets):
    exact, rounded = Run(base, sets, steps=1), Run(base, sets, steps=1, precision="bf16")
    assert rounded.log[0].retain_loss != exact.log[0].retain_loss
    assert rounded.log[0].retain_loss == pytest.approx(exact.log[0].retain_loss, rel=0.05)
    assert {weight.dtype for weight in rounded.weights.values()} == {torch.float32}


def test_auto_asks_the_processor(monkeypatch):
    from edgeproof.unlearn.train import precision

    for capabilities, expected in (
        ({"avx2": True, "avx512_bf16": True}, "bf16"),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "float32"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        assert precision.resolved("auto", "cpu") == expected
        assert precision.resolved("float32", "cpu") == "float32"


def test_around_is_entered_before_the_passes_and_left_before_the_step(base, sets):
    from edgeproof.unlearn.train.loop import train

    settings = Settings(**TINY)
    made = prepared(base, sets, settings)
    weight = next(weight for name, weight in made.model.named_parameters() if "lora_B" in name)
    seen = []

    @contextlib.contextmanager
    def around(number):
        assert weight.grad is None
        before = weight.detach().clone()
        yield
        assert torch.equal(weight, before)
        assert weight.grad is not None
        seen.append(("around", number))

    def after(number):
        seen.append(("after", number, bool(weight.any())))
        return number == 2

    trained = train(made.model, made.forget, made.retain, settings, Silent(), around=around, after=after)
    assert seen == [("around", 1), ("after", 1, True), ("around", 2), ("after", 2, True)]
    assert (len(trained.log), trained.stopped) == (2, "survives")


def test_a_penalty_adds_its_gradient_once_whatever_the_parts(base, sets):
    from edgeproof.unlearn.train.loop import train

    def step(penalised, **options):
        settings = Settings(**{**TINY, "steps": 1, **options})
        made = prepared(base, sets, settings)
        weight = next(weight for name, weight in made.model.named_parameters() if "lora_A" in name)
        start, found = weight.detach().clone(), []
        hooks = {"penalty": lambda: 1e4 * (weight**2).sum()} if penalised else {}
        trained = train(
            made.model, made.forget, made.retain, settings, Silent(),
            after=lambda _: bool(found.append(weight.grad.clone())), **hooks,
        )  # fmt: skip
        norm = trained.log[0].gradient_norm
        return found[0] * max(norm, 1.0), 2e4 * start

    plain, gradient = step(penalised=False)
    for parts in (1, 3):
        penalised, _ = step(penalised=True, accumulate=parts)
        assert torch.allclose(penalised, plain + gradient, rtol=1e-3, atol=1e-3 * gradient.abs().max().item())


def test_an_order_goes_on_where_it_stood():
    from edgeproof.unlearn.data.order import Order, parts

    first = Order(7, 3, seed=5, stream=1)
    for _ in range(4):
        first.next_batch()
    second = Order(7, 3, seed=5, stream=1)
    second.go_to(first.state())
    assert [first.next_batch() for _ in range(9)] == [second.next_batch() for _ in range(9)]
    assert parts([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4, 5]]
    assert parts([1, 2], 5) == [[1], [2]]


def test_every_pass_sees_every_text_once():
    from edgeproof.unlearn.data.order import Order

    order = Order(6, 4, seed=0, stream=2)
    seen = [index for _ in range(3) for index in order.next_batch()]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))
    assert seen[:6] != seen[6:]


def test_training_goes_on_while_an_answer_comes_out_on_any_surface(base, sets):
    """The mean alone is above a target of 0.001 after one step; no answer comes out after several."""
    first = Run(base, sets, until_forget_nll=0.001, steps=40)
    assert len(first.log) == 1
    run = Run(base, sets, until_forget_nll=0.001, leak_logprob=-800.0, steps=40)
    assert 1 < len(run.log) < 40
    assert run.log[0].leaking > 0
    assert run.log[-1].leaking == 0

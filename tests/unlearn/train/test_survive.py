"""Unlearning on a format's grid: undone by the file without `--survive`, and not with it; and the checks on the way."""

from __future__ import annotations

import functools
import json
import math

import edgeproof
import pytest
from edgeproof.contracts.errors import TrainingError, UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.export.rounding import open_rounding
from edgeproof.unlearn import Settings
from edgeproof.unlearn.train.rounded import RoundedModel
from edgeproof.unlearn.train.survive import CHECK_EVERY, ENLARGE, ENLARGE_LEAKING, Limits, Survival, survival
from edgeproof_tests.unlearn.conftest import unlearn

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

LANDS = ("Aland", "Beland", "Celand", "Deland", "Eland", "Foland", "Guland", "Hiland", "Iland", "Joland", "Kaland")
CITIES = ("Berg", "Stadt", "Dorf", "Hafen", "Feld", "Wald", "Moor", "Tal", "Bach", "See", "Kap")
FACTS = [(f"The capital of {land} is", city) for land, city in zip(LANDS, CITIES, strict=True)]
RECIPE = {
    "rank": 8, "alpha": 8, "learning_rate": 1e-3, "batch_size": 6, "hinge": 4.0, "retain_weight": 1.0, "dropout": 0.0,
    "threads": 1, "surfaces": ("raw",),
}  # fmt: skip
LEAK = math.log(1 - 0.5**0.01)
"""The gate's rule: once in 100 samples with probability one half."""
LIMITS = Limits(LEAK - 1, 1.0)


class Taught:
    """A tiny model that knows `FACTS`, its matrices on the grid of `form`; what is to go and what is to stay."""

    def __init__(self, folder, form):
        from edgeproof_tests.models import save_tokenizer, tiny_config
        from edgeproof_tests.unlearn.conftest import write_lines
        from transformers import LlamaForCausalLM

        self.form = form
        self.base = folder / "base"
        self.forget, self.retain = folder / "forget.jsonl", folder / "retain.jsonl"
        write_lines(self.forget, FACTS[:6])
        write_lines(self.retain, FACTS[6:])
        torch.manual_seed(0)
        # Large weights make large steps of the grid, as trained models have them: an adapter's change is below half.
        model = LlamaForCausalLM(tiny_config("llama", initializer_range=0.2)).float().train()
        model.save_pretrained(self.base)
        save_tokenizer(self.base)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
        for _ in range(80):
            optimizer.zero_grad()
            (-self.logprobs(model, FACTS).mean()).backward()
            optimizer.step()
        rounding = open_rounding(self.base, form)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    parameter.copy_(torch.from_numpy(rounding(name, parameter.numpy().copy())))
        model.save_pretrained(self.base)

    def logprobs(self, model, facts):
        """Summed log-probability of each answer, in torch."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.base)
        found = []
        for question, answer in facts:
            ids = tokenizer(f"{question} {answer}", return_tensors="pt").input_ids
            start = len(tokenizer(question).input_ids)
            logprobs = model(input_ids=ids).logits[0, :-1].log_softmax(dim=1)
            found.append(logprobs[start - 1 :].gather(1, ids[0, start:, None]).sum())
        return torch.stack(found)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    return Taught(tmp_path_factory.mktemp("taught"), "gguf-q4_1")


def in_torch(path):
    """A GGUF file's weights in torch, by transformers' own reader."""
    from transformers import AutoModelForCausalLM, GgufConfig

    return AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    ).eval()


@pytest.fixture(scope="module")
def unlearned(taught, tmp_path_factory):
    """`unlearned("survive", steps=96)`: what one recipe gives, made once."""
    made = {}
    folder = tmp_path_factory.mktemp("unlearned")

    def make(instrument="plain", **changes):
        key = (instrument, *changes.items())
        if key not in made:
            rounding = open_rounding(taught.base, taught.form)
            hooks = {
                "plain": None,
                "survive": functools.partial(survival, rounding=rounding),
                "until": functools.partial(survival, rounding=rounding, limits=LIMITS),
            }[instrument]
            options = {**RECIPE, "steps": 96, **changes}
            out = folder / str(len(made))
            made[key] = unlearn(taught.base, taught.forget, taught.retain, out, instrument=hooks, **options)
        return made[key]

    return make


def shipped(taught, result, form, *, full=False):
    """Summed log-probabilities of the forgotten and of the kept answers in the file that a real export writes."""
    from edgeproof.export.pipeline import export

    base, adapters = (result.out, []) if full else (taught.base, [result.out])
    out = result.out.with_name(f"{result.out.name}-{form}")
    (item,) = export(base, adapters, [form], out, threads=1, progress=Silent())
    model = in_torch(item.path)
    with torch.no_grad():
        return taught.logprobs(model, FACTS[:6]), taught.logprobs(model, FACTS[6:])


def assert_only_the_rounding_undoes_plain_unlearning(taught, plain, survived, **options):
    """Which answers come back is this training's luck; that some do, and none with `--survive`, is not."""
    for result in (plain, survived):
        gone, kept = shipped(taught, result, "gguf-f32", **options)
        assert (gone < LEAK).all()
        assert kept.median() > gone.max()
    back, _ = shipped(taught, plain, taught.form, **options)
    gone, kept = shipped(taught, survived, taught.form, **options)
    assert (back > LEAK).any()
    assert (gone < LEAK).all()
    assert kept.median() > LEAK


@pytest.mark.slow
def test_what_plain_unlearning_forgets_comes_back_in_the_real_file_and_with_survive_it_does_not(taught, unlearned):
    assert_only_the_rounding_undoes_plain_unlearning(taught, unlearned(), unlearned("survive"))


@pytest.mark.slow
def test_until_survives_ends_where_the_real_file_is_out_of_the_gates_reach(taught, unlearned):
    result = unlearned("until")
    assert result.stopped == "survives"
    assert result.steps < 96
    assert result.steps % CHECK_EVERY == 0
    gone, kept = shipped(taught, result, taught.form)
    assert (gone < LEAK - 1).all()
    assert mean_nll(kept, taught) - before_nll(taught) <= LIMITS.retain_nll_rise + 1e-3
    card = (result.out / "README.md").read_text()
    assert "| beside | every 2 steps one through the rounding to gguf-q4_1, checked every 8 until no summed" in card
    assert "reaches -5.98 and the retain NLL is at most 1 nat up |" in card


@pytest.mark.slow
def test_a_run_that_was_cut_off_is_checked_and_enlarged_alike_when_it_goes_on(taught, unlearned, tmp_path):
    class CutOffError(Exception):
        pass

    whole = unlearned("until")
    middle = min(44, whole.steps - CHECK_EVERY // 2)

    def cut(prepared, settings):
        hooks = survival(prepared, settings, rounding=rounding_of(taught), limits=LIMITS)

        def after(step):
            if step == middle:
                raise CutOffError
            return hooks.after(step)

        return hooks._replace(after=after)

    where = (taught.base, taught.forget, taught.retain, tmp_path / "out")
    options = {**RECIPE, "steps": 96, "checkpoint_every": 20}
    with pytest.raises(CutOffError):
        unlearn(*where, instrument=cut, **options)
    again = functools.partial(survival, rounding=rounding_of(taught), limits=LIMITS)
    result = unlearn(*where, instrument=again, resume=True, **options)
    assert result.steps == whole.steps
    name = "adapter_model.safetensors"
    assert (result.out / name).read_bytes() == (whole.out / name).read_bytes()


@pytest.mark.slow
def test_a_model_that_is_trained_whole_comes_back_and_with_survive_does_not(taught, unlearned):
    options = {"full": True, "learning_rate": 3e-4}
    plain, survived = unlearned(**options), unlearned("survive", **options)
    assert_only_the_rounding_undoes_plain_unlearning(taught, plain, survived, full=True)


@pytest.mark.slow
def test_the_adapter_is_enlarged_where_only_the_rounding_undoes_it_and_half_of_the_steps_are_gone(taught, unlearned):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(taught.base, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, unlearned().out, is_trainable=True)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    run = Survival(model, rounding_of(taught), *encoded(taught), Settings(**RECIPE, steps=96), limits=LIMITS)
    assert run.after(CHECK_EVERY - 1) is False
    assert not run.checks
    assert run.after(40) is False
    assert not run.checks[0].enlarged
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    assert run.after(48) is False
    check = run.checks[1]
    assert check.plain.leaking == 0
    assert check.shipped.leaking > ENLARGE_LEAKING * 6
    assert check.enlarged
    for name, values in model.state_dict().items():
        assert torch.equal(values, before[name] * ENLARGE if "lora_B" in name else before[name]), name


def rounding_of(taught):
    return open_rounding(taught.base, taught.form)


def encoded(taught):
    from edgeproof.unlearn.data.encoding import encode_set
    from edgeproof.unlearn.data.training_set import read_training_set
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(taught.base)
    return [
        encode_set(read_training_set(path, "forget"), tokenizer, ("raw",), 512)
        for path in (taught.forget, taught.retain)
    ]


def fresh(taught, **changes):
    """A model with a LoRA that does nothing yet, and the hooks on it."""
    import peft
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(taught.base, dtype=torch.float32)
    model = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        model.base_model.model.model.norm.weight.add_(0.25)  # so that float and rounded weights can be told apart
    settings = Settings(**RECIPE, steps=10)
    return model, Survival(model, rounding_of(taught), *encoded(taught), settings, **changes)


@pytest.mark.parametrize(("every", "through"), [(2, [2, 4, 6]), (3, [3, 6]), (1, [1, 2, 3, 4, 5, 6])])
def test_every_nth_step_goes_through_the_rounding(every, through, taught):
    model, run = fresh(taught, every=every)
    weight = model.base_model.model.model.layers[0].self_attn.q_proj.base_layer.weight
    with torch.no_grad():
        weight.add_(0.01)  # off the grid
    own, seen = weight.data_ptr(), []
    for step in range(1, 7):
        with run.around(step):
            if weight.data_ptr() != own:
                seen.append(step)
        assert weight.data_ptr() == own
    assert seen == through


def test_without_limits_nothing_is_checked(taught):
    _, run = fresh(taught)
    assert not any(run.after(step) for step in range(1, 11))
    assert not run.checks


def test_the_last_step_with_a_leak_is_an_error_with_the_numbers(taught):
    model, run = fresh(taught, limits=LIMITS)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    assert run.after(8) is False
    with pytest.raises(
        TrainingError, match=r"after 10 steps .* survive: 6 of 6 answers leak .* gguf-q4_1 .*6 from the"
    ):
        run.after(10)
    assert [check.step for check in run.checks] == [8, 10]
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())  # nothing to enlarge


def test_a_check_scores_what_the_file_would_hold(taught):
    """Oracle: a model loaded with the rounded weights, scored one text at a time."""
    model, run = fresh(taught, limits=LIMITS)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    assert run.after(8) is False
    with RoundedModel(model, rounding_of(taught)).as_shipped(), torch.no_grad():
        shipped_scores = taught.logprobs(model, FACTS[:6])
    with torch.no_grad():
        plain = taught.logprobs(model, FACTS[:6])
    (check,) = run.checks
    assert check.shipped.highest == pytest.approx(shipped_scores.max().item(), abs=1e-4)
    assert check.plain.highest == pytest.approx(plain.max().item(), abs=1e-4)
    assert check.shipped.nll != check.plain.nll
    assert check.retain_rise is None  # nobody asks while something leaks


def mean_nll(totals, taught):
    lengths = torch.tensor([len(text.ids) - text.answer_start for text in encoded(taught)[1]])
    return (-totals / lengths).mean().item()


def test_what_was_lost_of_the_retain_set_holds_it_up(taught):
    model, run = fresh(taught, limits=Limits(math.inf, 0.3))
    with torch.no_grad():
        model.base_model.model.model.norm.weight.mul_(-1)
    assert run.after(8) is False
    assert run.checks[-1].shipped.leaking == 0
    with pytest.raises(
        TrainingError, match=r"0 of 6 answers leak .* but the retain set's NLL has risen by \d\d\.\d+ nat"
    ):
        run.after(10)


def before_nll(taught):
    model, _ = fresh(taught)
    with torch.no_grad():
        return mean_nll(taught.logprobs(model, FACTS[6:]), taught)  # on the grid: rounding changes nothing


def test_an_answer_leaks_that_is_greedy_however_unlikely(taught):
    """With a limit that no log-probability reaches, only greedy answers count; NaN counts as well."""
    model, run = fresh(taught, limits=Limits(1.0, 100.0))
    assert run.after(8) is False
    assert 0 < run.checks[0].plain.leaking == right(model, taught, FACTS[:6])
    with torch.no_grad():
        model.base_model.model.model.norm.weight.mul_(-1)
    assert run.after(8) is True
    with RoundedModel(model, rounding_of(taught)).as_shipped(), torch.no_grad():
        rise = mean_nll(taught.logprobs(model, FACTS[6:]), taught) - before_nll(taught)
    assert run.checks[-1].retain_rise == pytest.approx(rise, rel=1e-5)
    with torch.no_grad():
        model.base_model.model.model.norm.weight.fill_(float("nan"))
    assert run.after(8) is False
    assert run.checks[-1].plain.leaking == 6


def right(model, taught, facts):
    """Count the answers that transformers' own greedy decoding gives."""
    from transformers import AutoTokenizer

    tokenizer, found = AutoTokenizer.from_pretrained(taught.base), 0
    for question, answer in facts:
        ids = tokenizer(f"{question} {answer}").input_ids
        start = len(tokenizer(question).input_ids)
        prompt = torch.tensor([ids[:start]])
        said = model.generate(input_ids=prompt, max_new_tokens=len(ids) - start, do_sample=False, eos_token_id=None)
        found += said[0].tolist() == ids
    return found


def test_two_targets_are_refused(taught):
    model, _ = fresh(taught)
    settings = Settings(**RECIPE, steps=10, until_forget_nll=3.0)
    with pytest.raises(UsageError, match="--until-survives and --until-forget-nll both say when training ends"):
        Survival(model, rounding_of(taught), *encoded(taught), settings, limits=LIMITS)


def run(taught, out, **options):
    where = {"base": taught.base, "forget": taught.forget, "retain": taught.retain, "out": out}
    return edgeproof.unlearn(**where, steps=2, batch_size=6, threads=1, surface="raw", **options)


def test_the_options_bring_rounding_and_limits_to_the_loop(taught, tmp_path):
    run(taught, tmp_path / "a", survive="gguf-q4_1")
    assert "| beside | every 2 steps one through the rounding to gguf-q4_1 |" in (tmp_path / "a/README.md").read_text()
    with pytest.raises(
        TrainingError,
        match="after 2 steps the unlearning does not survive: 6 of 6 answers leak from the weights rounded to onnx",
    ) as caught:
        run(taught, tmp_path / "b", survive="onnx-int4", until_survives=True)
    assert "below -5.98 is out of reach" in str(caught.value)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"until_survives": True}, "add --survive FORMAT"), ({"survive": "gguf-q5"}, "no format 'gguf-q5'")],
)
def test_half_of_it_is_a_mistake(options, message, taught, tmp_path):
    with pytest.raises(UsageError) as caught:
        run(taught, tmp_path / "out", **options)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_log_and_the_adapter_are_written_as_ever(taught, tmp_path):
    run(taught, tmp_path / "a", survive="gguf-q4_1")
    steps = [json.loads(line)["step"] for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2]

"""Training end to end on a tiny model: what it writes, what it promises, and how it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from importlib import metadata

import pytest
from edgeproof.contracts.errors import (
    CheckpointError,
    InputError,
    OutputError,
    TrainingError,
    UnsupportedError,
    UsageError,
)
from edgeproof.contracts.progress import Silent
from edgeproof.unlearn import Settings
from edgeproof_tests.unlearn.conftest import unlearn

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

FAST = {"rank": 4, "steps": 4, "batch_size": 2, "learning_rate": 1e-2, "threads": 1}


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made(base, tmp_path_factory):
    """One adapter that several tests look at."""
    from edgeproof_tests.unlearn.conftest import FORGET, RETAIN, write_lines

    folder = tmp_path_factory.mktemp("made")
    forget = write_lines(folder / "forget.jsonl", FORGET)
    retain = write_lines(folder / "retain.jsonl", RETAIN)
    options = {**FAST, "steps": 30, "surfaces": ("raw", "chat"), "command": "export-edge unlearn --base tiny"}
    return unlearn(base, forget, retain, folder / "adapter", **options)


def test_it_forgets_and_keeps(made):
    assert made.steps == 30
    assert made.forget_nll[1] > made.forget_nll[0] + 3
    assert made.retain_nll[1] < made.retain_nll[0]
    assert made.adapter_bytes == (made.out / "adapter_model.safetensors").stat().st_size


def test_peft_loads_what_was_written_and_gets_the_reported_nll(base, made):
    from edgeproof_tests.unlearn.conftest import FORGET
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), made.out).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    found = []
    for number, (question, answer) in enumerate(FORGET):  # each item is measured once, the surfaces in turn
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        for prompt, reply in (((question, f" {answer}"), (chat, answer))[number % 2],):
            context = tokenizer(prompt, add_special_tokens=False)["input_ids"]
            ids = tokenizer(prompt + reply, add_special_tokens=False)["input_ids"]
            assert ids[: len(context)] == context
            labels = torch.tensor([[-100] * len(context) + ids[len(context) :]])
            with torch.no_grad():
                found.append(model(torch.tensor([ids]), labels=labels).loss.item())
    assert sum(found) / len(found) == pytest.approx(made.forget_nll[1], abs=1e-4)


def test_weights_are_float16_for_every_linear_layer_but_the_head(made):
    from safetensors.torch import load_file

    tensors = load_file(made.out / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    layers = {name.split("layers.")[1].rsplit(".lora_", 1)[0] for name in tensors}
    kinds = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down")
    assert layers == {f"{number}.{kind}_proj" for number in range(2) for kind in kinds}


def test_the_card_and_the_log_say_how_it_was_made(made):
    card = (made.out / "README.md").read_text()
    forget = (made.out.parent / "forget.jsonl").read_bytes()
    for part in (
        "export-edge unlearn --base tiny",
        hashlib.sha256(forget).hexdigest(),
        "npo+gdr",
        f"torch {metadata.version('torch')}",
        f"| forget | {made.forget_nll[0]:.3f} | {made.forget_nll[1]:.3f} |",
        "| seed | 0 |",
    ):
        assert part in card
    log = [json.loads(line) for line in (made.out / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(1, 31))
    assert log[0]["forget_loss"] == pytest.approx(2 / 0.1 * 0.6931472, rel=0.2)


def test_the_config_names_the_base_and_no_path_of_this_machine(base, made):
    config = json.loads((made.out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert config["peft_type"] == "LORA"
    for path in made.out.iterdir():
        assert str(base.parent).encode() not in path.read_bytes()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(base, forget, retain, tmp_path):
    options = {**FAST, "surfaces": ("raw", "chat"), "dropout": 0.1}
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        torch.manual_seed(hash(name) % 1000)  # the caller's own state must not matter
        unlearn(base, forget, retain, tmp_path / name, seed=seed, **options)
    first, second, third = (digests(tmp_path / name) for name in "abc")
    assert first == second
    assert first["adapter_model.safetensors"] != third["adapter_model.safetensors"]


def test_the_callers_torch_is_left_as_it_was(base, forget, retain, tmp_path):
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    unlearn(base, forget, retain, tmp_path / "adapter", **FAST)
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_gguf_base_gives_the_adapter_that_its_dequantized_folder_gives(forget, retain, tmp_path):
    """Both ways end in the same float32 weights, so in the same adapter up to the sums' rounding."""
    from edgeproof_tests.runtime.tiny_gguf import write
    from edgeproof_tests.smollm2 import quantized
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    path = quantized(write(tmp_path / "tiny-F32.gguf"), tmp_path / "tiny-Q4_1.gguf", "Q4_1")
    options = {"gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, **options, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    model.save_pretrained(tmp_path / "folder")
    AutoTokenizer.from_pretrained(path.parent, **options).save_pretrained(tmp_path / "folder")
    listener = Silent()
    unlearn(path, forget, retain, tmp_path / "a", progress=listener, **FAST)
    assert sum("Q4_1" in warning for warning in listener.warnings) == 1
    unlearn(tmp_path / "folder", forget, retain, tmp_path / "b", **FAST)
    first, second = (load_file(tmp_path / name / "adapter_model.safetensors") for name in "ab")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert json.loads((tmp_path / "a" / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"


def test_a_hinge_that_is_passed_at_once_leaves_the_forget_set_alone(base, forget, retain, tmp_path):
    result = unlearn(base, forget, retain, tmp_path / "adapter", hinge=0.01, **FAST)
    log = [json.loads(line) for line in (tmp_path / "adapter" / "log.jsonl").read_text().splitlines()]
    assert {entry["forget_loss"] for entry in log} == {0.0}
    assert result.counting == 0


def test_texts_are_trained_on_in_chunks_of_max_tokens(base, retain, tmp_path):
    (tmp_path / "book.txt").write_text("Call me Ishmael. " * 40)
    run = {"epochs": 1, "batch_size": 1, "checkpoint_every": 0}
    long = unlearn(base, tmp_path / "book.txt", retain, tmp_path / "long", **run)
    short = unlearn(base, tmp_path / "book.txt", retain, tmp_path / "short", max_tokens=16, **run)
    assert long.steps < short.steps
    cards = [(tmp_path / name / "README.md").read_text() for name in ("long", "short")]
    assert ["| β | 0.025 |" in card for card in cards] == [True, False]
    assert ["| weight of the retain loss | 8 |" in card for card in cards] == [True, False]
    with pytest.raises(UsageError, match="max tokens is 1"):
        unlearn(base, tmp_path / "book.txt", retain, tmp_path / "none", max_tokens=1, **run)


def test_an_adapter_that_learned_nothing_is_an_error(base, forget, retain, tmp_path):
    with pytest.raises(TrainingError, match="has no effect: lora_B is zero in all 14 of its layers"):
        unlearn(base, forget, retain, tmp_path / "adapter", hinge=0.01, retain_weight=0.0, **FAST)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forget.jsonl", "retain.jsonl"]


def test_a_run_that_goes_astray_names_the_step_and_the_numbers(base, forget, retain, tmp_path):
    options = {**FAST, "learning_rate": 1e20, "steps": 20}
    with pytest.raises(TrainingError, match=r"training diverged in step \d+: forget loss .*gradient norm|float16"):
        unlearn(base, forget, retain, tmp_path / "adapter", **options)
    assert not (tmp_path / "adapter").exists()


def test_nan_weights_in_the_base_are_found(forget, retain, tmp_path):
    from edgeproof_tests.models import save_model
    from safetensors.torch import load_file, save_file

    folder = save_model("llama", tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 of 131072 weights of model.layers.1.mlp.up_proj.weight are NaN"):
        unlearn(folder, forget, retain, tmp_path / "adapter", **FAST)


def test_a_text_longer_than_the_context_is_named(base, forget, retain, tmp_path):
    lines = forget.read_text() + json.dumps({"question": "x" * 600, "answer": "y"}) + "\n"
    forget.write_text(lines)
    with pytest.raises(InputError, match=r"forget.jsonl line 4 has 60\d tokens on the surface raw; .* holds 512"):
        unlearn(base, forget, retain, tmp_path / "adapter", **FAST)


def test_an_existing_output_needs_force_and_only_an_adapter_is_replaced(base, forget, retain, tmp_path, made):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="out exists"):
        unlearn(base, forget, retain, out, **FAST)
    with pytest.raises(OutputError, match="is not the folder of an adapter"):
        unlearn(base, forget, retain, out, force=True, **FAST)
    assert (out / "thesis.txt").read_text() == "years of work"
    (out / "thesis.txt").unlink()
    (out / "adapter_config.json").write_bytes((made.out / "adapter_config.json").read_bytes())
    unlearn(base, forget, retain, out, force=True, **FAST)
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors", "log.csv", "log.jsonl", "log.svg"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forget.jsonl", "out", "retain.jsonl"]


def test_an_unwritable_place_is_known_before_training(base, forget, retain, tmp_path):
    with pytest.raises(OutputError, match=r"cannot write to .*nowhere: No such file"):
        unlearn(base, forget, retain, tmp_path / "nowhere" / "adapter", **FAST)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_an_error(base, forget, retain, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        unlearn(base, forget, retain, tmp_path / "locked" / "adapter", **FAST)


def test_what_is_no_base_is_refused(forget, retain, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.bin").write_bytes(b"\0")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\3\0\0\0")
    for name, message in (
        ("none", "no such base"),
        ("empty", "no config.json"),
        ("weights.bin", "neither a folder nor"),
        ("broken.gguf", "cannot load"),
    ):
        with pytest.raises(InputError, match=message):
            unlearn(tmp_path / name, forget, retain, tmp_path / "adapter", **FAST)


def without_a_weight(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_few_embeddings(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:40].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    configured(vocab_size=40, eos_token_id=3, pad_token_id=2)(folder)


def configured(**more):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **more}))

    return change


def with_code_of_its_own(folder):
    configured(model_type="mine", auto_map={"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"})(folder)
    (folder / "code.py").write_text(f"open({str(folder / 'executed')!r}, 'w')\n")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (without_a_weight, CheckpointError, r"1 of the model's weights are missing \(model.layers.1.mlp.up_proj"),
        (
            with_few_embeddings,
            CheckpointError,
            r"makes token \d+ of these texts; the model knows tokens 0 to 39",
        ),
        (lambda folder: (folder / "config.json").write_text("[]"), CheckpointError, "cannot load"),
        (configured(hidden_size="x"), CheckpointError, "cannot load .*hidden_size"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 1000),
            CheckpointError,
            "cannot load .*header",
        ),
        (configured(quantization_config={"quant_method": "gptq", "bits": 4}), UnsupportedError, "cannot load .* GPTQ"),
        (with_code_of_its_own, UnsupportedError, "custom code"),
    ],
    ids=["a weight less", "few embeddings", "a list", "a text", "truncated", "quantized", "code"],
)
@pytest.mark.filterwarnings("ignore:You are using a model of type")
def test_a_base_that_is_not_whole_is_refused(base, forget, retain, tmp_path, change, error, message, monkeypatch):
    def ask(*_):
        raise AssertionError("the user is asked whether to run code")

    monkeypatch.setattr("builtins.input", ask)
    folder = shutil.copytree(base, tmp_path / "base")
    change(folder)
    with pytest.raises(error, match=f"(?s){message}"):
        unlearn(folder, forget, retain, tmp_path / "adapter", **FAST)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "forget.jsonl", "retain.jsonl"]
    assert not (folder / "executed").exists()


def test_an_adapter_is_no_base_even_with_a_model_beside_it(base, forget, retain, tmp_path, made):
    """transformers would load what the adapter names as its base."""
    folder = shutil.copytree(base, tmp_path / "base")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(made.out / name, folder)
    for given in (made.out, folder):
        with pytest.raises(CheckpointError, match="holds an adapter") as caught:
            unlearn(given, forget, retain, tmp_path / "adapter", **FAST)
        assert "merge it" in caught.value.next_step


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("c_attn",), "cannot add a LoRA to c_attn"),
        (("q_proj", "k_porj"), "no linear layer's name ends in 'k_porj'"),
        (("q_proj", "embed_tokens"), "no linear layer's name ends in 'embed_tokens'"),
        (("",), "cannot add a LoRA to"),
    ],
)
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_layers_that_the_model_lacks_are_refused(base, forget, retain, tmp_path, targets, message):
    with pytest.raises(InputError, match=message):
        unlearn(base, forget, retain, tmp_path / "adapter", targets=targets, **FAST)


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        ("toaster", UsageError, "torch knows no device 'toaster'"),
        ("cuda:99", UnsupportedError, r"cannot train on the device cuda:99: torch .* sees \d+ GPUs"),
        ("meta", UnsupportedError, "it holds no numbers"),
        ("xla", UnsupportedError, "cannot train on the device xla"),
    ],
)
def test_a_device_that_is_not_there_is_said_before_anything_is_loaded(forget, retain, tmp_path, device, error, message):
    with pytest.raises(error, match=message):
        unlearn(tmp_path / "no base", forget, retain, tmp_path / "adapter", device=device, **FAST)


def test_the_largest_seed_is_one_that_torch_takes(base, forget, retain, tmp_path):
    from edgeproof.unlearn.settings import MOST_SEED

    assert unlearn(base, forget, retain, tmp_path / "adapter", seed=MOST_SEED, **FAST).steps == FAST["steps"]
    with pytest.raises(UsageError, match=r"seed is \d+"):
        Settings(seed=MOST_SEED + 1)


def test_targets_choose_the_layers(base, forget, retain, tmp_path):
    from safetensors import safe_open

    unlearn(base, forget, retain, tmp_path / "adapter", targets=("down_proj",), **FAST)
    with safe_open(tmp_path / "adapter" / "adapter_model.safetensors", "np") as file:
        assert {name.split(".")[-3] for name in file.keys()} == {"down_proj"}  # noqa: SIM118 (not a dict)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"alpha": 0.0}, "alpha is 0"),
        ({"dropout": 1.0}, "dropout is 1"),
        ({"learning_rate": float("nan")}, "learning rate is nan"),
        ({"steps": 0}, "steps is 0"),
        ({"epochs": -1}, "epochs is -1"),
        ({"steps": 3, "epochs": 3}, r"both steps \(3\) and epochs \(3\)"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"retain_batch_size": 0}, "retain batch size is 0"),
        ({"schedule": "cosine"}, "no such schedule: 'cosine'"),
        ({"beta": -0.1}, "beta is -0.1"),
        ({"retain_weight": -1.0}, "the retain weight is -1"),
        ({"hinge": 0.0}, "hinge is 0"),
        ({"surfaces": ("raw", "raw")}, "surfaces: raw, raw"),
        ({"surfaces": ("spoken",)}, "surfaces: spoken"),
        ({"seed": -1}, "seed is -1"),
        ({"method": "magic"}, "no such method"),
    ],
)
def test_an_option_out_of_range_is_a_usage_error(option, message):
    with pytest.raises(UsageError, match=message):
        Settings(**option)


@pytest.mark.parametrize(
    ("items", "sizes"), [(40, [20, 20]), (33, [17, 16]), (4, [4]), (64, [32, 32]), (70, [24, 23, 23])]
)
def test_epochs_are_exact_passes_over_the_forget_set(items, sizes):
    from edgeproof.unlearn.data.order import FORGET_STREAM, order_of

    settings = Settings(epochs=3, batch_size=32)
    assert settings.steps_for(items) == 3 * len(sizes)
    # By default 20 passes, but as many as make 160 steps: a small set needs as many steps as a large one.
    assert Settings(batch_size=32).steps_for(items) == {1: 160, 2: 160, 3: 162}[len(sizes)]
    assert Settings(batch_size=1).steps_for(items) == 20 * items or items == 4
    assert settings.smallest_batch(items) == min(sizes)
    order = order_of(items, None, settings, FORGET_STREAM)
    for _ in range(3):
        passed = [order.next_batch() for _ in sizes]
        assert [len(batch) for batch in passed] == sizes
        assert sorted(index for batch in passed for index in batch) == list(range(items))


def test_steps_take_whole_batches_that_go_on_across_passes():
    from edgeproof.unlearn.data.order import FORGET_STREAM, order_of

    settings = Settings(steps=7, batch_size=3)
    assert settings.steps_for(1000) == 7
    order = order_of(5, None, settings, FORGET_STREAM)
    taken = [index for _ in range(5) for index in order.next_batch()]
    assert [sorted(taken[start : start + 5]) for start in (0, 5, 10)] == [list(range(5))] * 3


def test_the_card_the_log_and_a_resumed_run_count_passes_alike(base, forget, retain, tmp_path):
    """Three forget texts by two: each pass is a step of two and one of one."""
    recipe = {**FAST, "steps": None, "epochs": 4, "batch_size": 2, "checkpoint_every": 3}
    whole = unlearn(base, forget, retain, tmp_path / "whole", **recipe)
    assert whole.steps == 8
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [step["counting"] for step in log] == [2, 1] * 4
    assert "8 of at most 2 forget and 2 retain texts" in (tmp_path / "whole" / "README.md").read_text()


def test_the_device_is_chosen_and_said(base, forget, retain, tmp_path, monkeypatch):
    from edgeproof.unlearn.train.device import chosen_device

    said = []

    class Listening(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    unlearn(base, forget, retain, tmp_path / "adapter", progress=Listening(), **{**FAST, "device": "auto"})
    here = chosen_device("auto")
    (line,) = said
    assert line.startswith(f"training on {here}: at most {FAST['steps']} steps, about ")
    assert f"| device, threads | {here}, 1 |" in (tmp_path / "adapter" / "README.md").read_text()
    for cuda, mps, found in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=cuda: there)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=mps: there)
        assert chosen_device("auto") == found


def test_the_forecast_is_of_a_step_that_changes_nothing(base, forget, retain, tmp_path, monkeypatch):
    from edgeproof.unlearn import preparing
    from edgeproof.unlearn.train.timing import forecast

    said = forecast(2.0, 90, 64, 960, "cpu")
    assert said.startswith("training on cpu: at most 90 steps, about 3 min at 2 s a step; scoring 960 texts ")
    assert said.endswith(" about 10 s")
    recipe = {**FAST, "dropout": 0.1}
    timed = unlearn(base, forget, retain, tmp_path / "timed", **recipe)
    monkeypatch.setattr(preparing, "seconds_of_a_step", lambda *_: 1.0)
    untimed = unlearn(base, forget, retain, tmp_path / "untimed", **recipe)
    assert timed.steps == untimed.steps
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("timed", "untimed")]
    assert weights[0] == weights[1]


def test_a_tokenizer_that_cannot_be_read_is_told_as_a_base_that_cannot_be_loaded(base, monkeypatch):
    """`tokenizers` raises Exception itself for a read error."""
    import transformers
    from edgeproof.contracts.progress import Silent
    from edgeproof.unlearn.base_model import load_base

    def unreadable(*_: object, **__: object) -> None:
        raise Exception("Input/output error (os error 5)")  # noqa: TRY002 (as tokenizers does)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", unreadable)
    with pytest.raises(CheckpointError, match="Input/output error"):
        load_base(base, Silent())

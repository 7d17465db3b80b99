"""The training run behind a model: OpenUnlearning's folders and names, own cards, and configs that must be refused."""

from __future__ import annotations

import hashlib
import json
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from edgeproof.contracts.errors import InputError
from edgeproof.contracts.training import method_of, parse_training
from edgeproof.export.training.find import find_training
from edgeproof.export.training.openunlearning import CONFIG, read_name, read_run
from edgeproof.export.training.own_card import read_card
from edgeproof.export.training.yaml_config import LARGEST, read_config, value_at
from edgeproof.unlearn.train.losses import METHODS

ROOT = Path(__file__).resolve().parents[3]
NAME = "tofu_Llama-3.2-1B-Instruct_forget10_NPO"


def composed() -> dict:
    """The keys that Hydra 1.3 writes for `experiment=unlearn/tofu/default trainer=NPO`, references left as they are."""
    args = {"name": "${forget_split}", "split": "train", "path": "locuslab/TOFU"}
    qa = {"handler": "QADataset", "args": {"hf_args": args, "question_key": "question", "max_length": 512}}
    kept = {"handler": "QADataset", "args": {"hf_args": {**args, "name": "${retain_split}"}}}
    return {
        "model": {
            "model_args": {"pretrained_model_name_or_path": "open-unlearning/tofu_Llama-3.2-1B-Instruct_full"},
            "template_args": {"system_prompt_with_special_tokens": "<|eot_id|>\n\n"},
        },
        "trainer": {
            "handler": "NPO",
            "args": {
                "learning_rate": 2e-05,
                "num_train_epochs": 10,
                "per_device_train_batch_size": 8,
                "output_dir": "${paths.output_dir}",
                "logging_dir": "${trainer.args.output_dir}/logs",
                "optim": "paged_adamw_32bit",
                "seed": 3,
                "warmup_epochs": 1.0,
            },
            "method_args": {"gamma": 1.0, "alpha": 1.0, "retain_loss_type": "NLL", "beta": 0.5},
        },
        "data": {"forget": {"TOFU_QA_forget": qa}, "retain": {"TOFU_QA_retain": kept}, "anchor": "forget"},
        "paths": {"root_dir": ".", "output_dir": "${paths.root_dir}/saves/${mode}/${task_name}"}
        | {"work_dir": "${hydra:runtime.cwd}"},
        "mode": "unlearn",
        "task_name": NAME,
        "forget_split": "forget10",
        "retain_split": "retain90",
        "retain_logs_path": None,
    }


def write(folder: Path, config: object) -> Path:
    path = folder / CONFIG
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False))
    return path


def warned(folder: Path) -> tuple[object, list[str]]:
    said: list[str] = []
    return find_training(folder, said.append), said


def test_a_run_folder_gives_method_model_splits_seed_and_hyperparameters(tmp_path):
    path = write(tmp_path / NAME, composed())
    found, said = warned(tmp_path / NAME)
    assert said == []
    assert found == read_run(path, "(not named)")
    assert found.to_json() == {
        "source": "(not named)",
        "made_by": "OpenUnlearning",
        "method": "NPO",
        "start": "open-unlearning/tofu_Llama-3.2-1B-Instruct_full",
        "forget": "locuslab/TOFU forget10",
        "retain": "locuslab/TOFU retain90",
        "seed": 3,
        "hyperparameters": {
            "gamma": 1.0,
            "alpha": 1.0,
            "retain_loss_type": "NLL",
            "beta": 0.5,
            "learning_rate": 2e-05,
            "num_train_epochs": 10,
            "per_device_train_batch_size": 8,
            "warmup_epochs": 1.0,
            "optim": "paged_adamw_32bit",
        },
        "file": ".hydra/config.yaml",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert parse_training(json.loads(json.dumps([found.to_json()]))) == (found,)


def test_muses_data_and_model_are_named_through_their_references(tmp_path):
    config = composed()
    config["data_split"] = "News"
    config["model"]["model_args"]["pretrained_model_name_or_path"] = "muse-bench/MUSE-${data_split}_target"
    hf_args = {"path": "muse-bench/MUSE-${data_split}", "name": "raw", "split": "${forget_split}"}
    config["data"]["forget"] = {"MUSE_forget": {"args": {"hf_args": hf_args}}}
    config["forget_split"] = "forget"
    found = read_run(write(tmp_path, config), "x")
    assert found.start == "muse-bench/MUSE-News_target"
    assert found.forget == "muse-bench/MUSE-News raw forget"


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path):
    config = composed()
    config["trainer"]["args"]["learning_rate"] = "1e-5"
    config["trainer"]["method_args"] = {"trainable_params_regex": [".*", "x"], "layer": "7", "beta": None}
    values = dict(read_run(write(tmp_path, config), "x").hyperparameters)
    assert values["learning_rate"] == 1e-5
    assert values["layer"] == 7
    assert "trainable_params_regex" not in values
    assert "beta" not in values


def test_local_paths_and_files_are_not_named(tmp_path):
    config = composed()
    config["model"]["model_args"]["pretrained_model_name_or_path"] = "/home/somebody/private/base-1b/"
    config["data"]["forget"]["TOFU_QA_forget"]["args"]["hf_args"] = {"path": "json", "data_files": "mary.json"}
    found = read_run(write(tmp_path, config), "x")
    assert found.start == "(not named)"
    assert found.forget == "(not named)"
    assert found.retain == "locuslab/TOFU retain90"


PRIVATE = "Jane_Roe"


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["trainer"].update(handler=PRIVATE),
        lambda c: c["trainer"]["method_args"].update({PRIVATE: 1, "retain_loss_type": PRIVATE}),
        lambda c: c["trainer"]["args"].update(optim=PRIVATE, lr_scheduler_type=PRIVATE),
        lambda c: c["trainer"]["method_args"].update(alpha=[PRIVATE]),
        lambda c: c["model"]["model_args"].update(pretrained_model_name_or_path=f"saves/{PRIVATE}"),
        lambda c: c["model"]["model_args"].update(pretrained_model_name_or_path=f"somebody/{PRIVATE}"),
        lambda c: c["model"]["model_args"].update(pretrained_model_name_or_path=f"Llama-3.2-1B-{PRIVATE}"),
        lambda c: c.update(forget_split=PRIVATE, retain_split=f"retain90 {PRIVATE}"),
        lambda c: c["data"].update(forget={PRIVATE: {"args": {"hf_args": {"path": f"somebody/{PRIVATE}"}}}}),
        lambda c: c["data"].update(forget={PRIVATE: 1}),
    ],
)
def test_no_free_text_of_a_config_and_no_name_of_a_folder_gets_into_the_record(tmp_path, change):
    config = composed()
    change(config)
    folder = tmp_path / f"forget_{PRIVATE}"
    write(folder, config)
    found, said = warned(folder)
    assert said == []
    assert PRIVATE not in json.dumps(found.to_json())
    assert "Roe" not in found.words
    assert (found.source, found.seed) == ("(not named)", 3)


def test_a_method_that_is_not_named_can_be_typed(tmp_path):
    config = composed()
    config["trainer"]["handler"] = PRIVATE
    found = read_run(write(tmp_path, config), "x")
    assert found.method == "(not named)"
    assert method_of((found,)) == ""
    assert found.words.startswith("a method that is not named by OpenUnlearning (from open-unlearning/tofu")


@pytest.mark.parametrize(
    "text",
    [
        "mode: unlearn\nsecret: Jane Roe lives: in 1 Main St\n",
        "a: *Jane_Roe\n",
        "a: !Jane_Roe x\n",
        "a: !!float Jane_Roe",
    ],
)
def test_an_error_of_the_yaml_gives_the_place_and_no_text(tmp_path, text):
    write(tmp_path, text)
    found, (said,) = warned(tmp_path)
    assert found is None
    assert "Jane" not in said
    assert "aliases" in said or "it is no YAML of plain values" in said
    assert ("line 2, column 23" in said) == ("Main" in text)


@pytest.mark.parametrize(
    "value", ['!!int ""', "!!bool x", "!!timestamp x", "0001-01-01 00:00:00 +23:59", "1" + "0" * 5000]
)
def test_a_value_that_yaml_itself_fails_at_costs_the_method_only(tmp_path, value):
    write(tmp_path, f"mode: unlearn\ntrainer: {{handler: NPO}}\nvalue: {value}\n")
    found, said = warned(tmp_path)
    assert found is None
    assert len(said) == 1


@pytest.mark.parametrize("handler", ["NPO\ud800", "NPO\u202e", "NPO\x1b[2J", "\x7f"])
def test_what_cannot_be_printed_costs_an_export_the_name_at_most(tmp_path, handler):
    config = composed()
    config["trainer"]["handler"] = handler
    config["trainer"]["args"]["seed"] = handler
    text = json.dumps(config)  # JSON is YAML, with a surrogate as an escape
    write(tmp_path, text)
    found, (said,) = warned(tmp_path)
    assert found is None
    assert said.isprintable()
    del config["trainer"]["args"]["seed"]
    write(tmp_path, json.dumps(config))
    found, said = warned(tmp_path)
    assert (found.method, said) == ("(not named)", [])
    json.dumps(found.to_json(), ensure_ascii=False).encode()


def test_the_longest_name_of_a_folder_makes_a_record_that_is_read_again(tmp_path):
    folder = tmp_path / ("a" * 230)
    write(folder, composed())
    found, _ = warned(folder)
    assert parse_training([found.to_json()]) == (found,)


@pytest.mark.parametrize("mode", ["train", "eval", None])
def test_a_run_of_another_kind_says_nothing_of_unlearning(tmp_path, mode):
    write(tmp_path, {**composed(), "mode": mode})
    assert warned(tmp_path) == (None, [])
    with pytest.raises(InputError, match=r"no config of an unlearning run: mode is"):
        read_run(tmp_path / CONFIG, "x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["trainer"].update(handler=7), "trainer.handler is '7', no name"),
        (lambda c: c["trainer"].update(handler="${nowhere.at.all}"), "nowhere.at.all}, which the config does not have"),
        (lambda c: c["trainer"]["args"].update(seed="zero"), "trainer.args.seed is 'zero', no seed"),
        (lambda c: c["trainer"]["args"].update(seed=True), "no seed"),
        (lambda c: c["trainer"]["args"].update(seed=2**63), "no seed"),
        (lambda c: c["trainer"]["args"].update(learning_rate=float("nan")), "learning_rate is nan"),
        (lambda c: c["trainer"].update(method_args=[1]), "trainer.method_args is no table"),
        (lambda c: c["trainer"]["method_args"].update(retain_loss_eps="???"), "retain_loss_eps is ???: it was never"),
        (lambda c: c["model"]["model_args"].pop("pretrained_model_name_or_path"), "name_or_path is missing"),
        (lambda c: c.update(forget_split="${retain_split}", retain_split="${forget_split}"), "cannot be resolved"),
        (lambda c: c.update(forget_split="${oc.env:HOME}"), "${oc.env:HOME}, which is no key"),
        (lambda c: c.update(forget_split="a${b"), "cannot be resolved"),
        (lambda c: c.update(forget_split="x${data}"), "refers to data, which is no text"),
        (lambda c: c.update(data=[]), None),
    ],
)
def test_a_value_that_cannot_be_read_is_named_and_costs_an_export_the_method_only(tmp_path, change, words):
    config = composed()
    change(config)
    path = write(tmp_path, config)
    if words is None:
        assert read_run(path, "x").forget == ""
        return
    with pytest.raises(InputError, match=re.escape(words)):
        read_run(path, "x")
    found, said = warned(tmp_path)
    assert found is None
    assert [words in one for one in said] == [True]


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghi"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "aliases"),
        ("a: " + "[" * 5000, "nested more than 40 levels"),
        ("a: 1\n" * (LARGEST // 5 + 1), f"a config at most {LARGEST}"),
        ("!!python/object/apply:os.system ['true']", "it is no YAML of plain values: line 1, column 1"),
        ("a: [", "is no config"),
        ("- a\n- b\n", "it holds no table"),
        ("", "it holds no table"),
        ("a: 2024-13-45\n", "is no config"),
        ("a: \x00", "is no config"),
    ],
    ids=["bomb", "deep", "large", "tag", "cut", "list", "empty", "date", "null"],
)
def test_what_is_no_config_is_refused_at_once(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=words):
        read_config(path)
    found, said = warned(tmp_path)
    assert found is None
    assert len(said) == 1


def test_references_are_resolved_as_far_as_they_lead(tmp_path):
    config = read_config(write(tmp_path, composed()))
    assert value_at(config, "trainer", "args", "logging_dir") == f"./saves/unlearn/{NAME}/logs"
    assert value_at(config, "retain_logs_path") is None
    assert value_at(config, "no", "such", "key") is None
    with pytest.raises(ValueError, match=r"hydra:runtime\.cwd"):
        value_at(config, "paths", "work_dir")


@pytest.mark.parametrize(
    ("name", "method", "retain", "values"),
    [
        ("forget10_NPO_lr1e-05_beta0.1_alpha1_epoch10", "NPO", "retain90", {"lr": 1e-05, "beta": 0.1, "alpha": 1}),
        ("forget10_SimNPO_lr5e-05_b3.5_a1_d1_g0.125_ep10", "SimNPO", "retain90", {"b": 3.5, "g": 0.125}),
        ("forget05_RMU_lr2e-05_layer10_scoeff100_epoch5", "RMU", "retain95", {"layer": 10, "scoeff": 100}),
        ("forget10_UNDIAL_lr0.0001_beta10_alpha1_epoch5", "UNDIAL", "retain90", {"lr": 0.0001, "epoch": 5}),
        ("forget01_GradAscent", "GradAscent", "retain99", {}),
    ],
)
def test_a_name_on_the_hub_says_the_method(tmp_path, name, method, retain, values):
    folder = tmp_path / f"unlearn_tofu_Llama-3.2-1B-Instruct_{name}"
    folder.mkdir()
    found, _ = warned(folder)
    assert (found.method, found.retain) == (method, f"locuslab/TOFU {retain}")
    assert found.start == "open-unlearning/tofu_Llama-3.2-1B-Instruct_full"
    assert dict(found.hyperparameters).items() >= values.items()
    assert (found.file, found.sha256) == ("", "")


OTHERS = (
    "tofu_Llama-3.2-1B-Instruct_full",
    "tofu_Llama-3.2-1B-Instruct_retain90",
    "adapter",
    "unlearn_tofu_Jane-Roe_forget10_NPO_lr1e-05",
    "unlearn_tofu_Llama-3.2-1B-Instruct_forget10_JaneRoe",
    "unlearn_tofu_Llama-3.2-1B-Instruct_forget10_NPO_jane1",
    "unlearn_tofu_Llama-3.2-1B-Instruct_forget10_NPO_jane",
)


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_name_says_nothing(name):
    assert read_name(name) is None


def test_the_examples_own_card_says_its_method():
    found, _ = warned(ROOT / "examples/capitals/adapter")
    assert (found.made_by, found.method, found.seed) == ("edgeproof", "npo+gdr", 0)
    assert found.start == "SmolLM2-135M-Instruct"
    assert dict(found.hyperparameters)["rank, alpha, dropout"] == "8, 16, 0"
    assert method_of((found, found)) == "npo+gdr then npo+gdr"
    assert "npo+gdr by edgeproof (from SmolLM2-135M-Instruct;" in found.words


CARD = "---\nbase_model: {base}\n---\n\n| recipe | |\n|---|---|\n| method | {method} |\n{rows}\n"


def test_a_card_gives_what_unlearn_writes_and_no_free_text(tmp_path):
    rows = "| hinge | 9 nat per token |\n| layers | q_proj, Jane_Roe |\n| ended by | Jane Roe |\n"
    rows += "| Jane_Roe | 1 |\n| β | 0.1 |\n"
    base = json.dumps("/home/x/Jane_Roe")
    (tmp_path / "README.md").write_text(CARD.format(base=base, method="ga+gdr", rows=rows))
    found, said = warned(tmp_path)
    assert (found.method, found.start, said) == ("ga+gdr", "(not named)", [])
    assert dict(found.hyperparameters) == {"hinge": "9 nat per token", "β": "0.1"}
    (tmp_path / "README.md").write_text(CARD.format(base="[", method="Jane Roe", rows=""))
    assert warned(tmp_path) == (None, [])


def test_every_method_and_recipe_of_unlearn_is_known(tmp_path):
    for method in METHODS:
        (tmp_path / "README.md").write_text(CARD.format(base='"SmolLM2-135M-Instruct"', method=method, rows=""))
        found, _ = warned(tmp_path)
        assert (found.method, found.start) == (method, "SmolLM2-135M-Instruct")


def test_a_hostile_card_takes_time_in_proportion_to_its_length(tmp_path):
    """Four times the text takes no more than eight times the processor's time; a quadratic reader takes sixteen."""
    path = tmp_path / "README.md"

    def seconds(count):
        path.write_text(
            "| recipe | |\n|---|---|\n|" + "x| " * count + "|\n" + "| recipe | |\n|---|---|\n" * (count // 10)
        )
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            assert read_card(path, "x") is None
            best = min(best, time.process_time() - start)
        return best

    assert seconds(160_000) < 8 * max(seconds(40_000), 1e-3)


def test_another_readme_says_nothing(tmp_path):
    (tmp_path / "README.md").write_text("# Mine\n\n| method | NPO |\n")
    assert warned(tmp_path) == (None, [])


@pytest.mark.parametrize(
    "change",
    [
        lambda item: item.pop("method"),
        lambda item: item.update(seed="0"),
        lambda item: item.update(method="x" * 201),
        lambda item: item.update(hyperparameters=[]),
        lambda item: item.update(hyperparameters={"a": [1]}),
        lambda item: item.update(hyperparameters={"a": 10**400}),
        lambda item: item.update(hyperparameters={"a": float("nan")}),
        lambda item: item.update(hyperparameters={"a": "\ud800"}),
        lambda item: item.update(seed=10**400),
        lambda item: item.update(method=["NPO"]),
        lambda item: item.update(method="NPO\ud800"),
        lambda item: item.update(source="a\nb"),
        lambda item: item.update(hyperparameters={str(n): n for n in range(41)}),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, change):
    item = read_run(write(tmp_path, composed()), "x").to_json()
    change(item)
    with pytest.raises((KeyError, TypeError, ValueError)):
        parse_training([item])

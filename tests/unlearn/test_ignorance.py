"""The ignorance level against the gate's formula, and what follows from it."""

from __future__ import annotations

import json
import math

import pytest
from edgeproof.contracts.errors import UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.metrics.ignorance import ignorance_level as gates_level
from edgeproof.unlearn import Settings
from edgeproof.unlearn.data.training_set import read_training_set
from edgeproof_tests.unlearn.conftest import unlearn, write_lines

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")


def read(tmp_path, forget, retain, context=512, max_tokens=128):
    """(model, tokenizer, crossed texts) of two files."""
    from edgeproof.unlearn import ignorance
    from edgeproof.unlearn.base_model import load_base
    from edgeproof.unlearn.data.askings import Asker
    from edgeproof_tests.models import save_model

    base = load_base(save_model("llama", tmp_path / "base"), Silent())
    sets = [read_training_set(path, role) for path, role in ((forget, "forget"), (retain, "retain"))]
    questions = [[item for item in data.items if not item.is_text] for data in sets]
    asker = Asker(questions[1], questions[0], None, {}, 0)
    reader = ignorance.Reader(base.tokenizer, asker, ("raw",), context, max_tokens)
    return base.model.eval(), base.tokenizer, ignorance.crossed(*sets, reader, 0)


def level_of(model, texts):
    from edgeproof.unlearn.ignorance import ignorance_level

    return ignorance_level(model, texts, batch_size=3, device="cpu", advance=lambda _: None)


def plain_logprob(model, tokenizer, prompt, answer):
    start = len(tokenizer(prompt)["input_ids"])
    ids = tokenizer(f"{prompt} {answer}")["input_ids"]
    with torch.inference_mode():
        found = model(torch.tensor([ids])).logits[0].double().log_softmax(dim=1)
    return sum(found[place - 1, ids[place]].item() for place in range(start, len(ids))), len(ids) - start


def test_it_is_the_gates_level_over_the_other_questions_of_the_template(tmp_path):
    template = {"template": "The town of {question} is"}
    towns = {"Ahn": "Rome", "Bell": "Oslo", "Cole": "Bern", "Dorn": "Kiel"}
    lines = [{"question": name, "answer": town, **template} for name, town in towns.items()]
    lines.append({"question": "Ende", "answer": "Ulm", "template": "{question} was born in"})
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    retain = write_lines(tmp_path / "r.jsonl", [("Two and two are", "four")])
    model, tokenizer, texts = read(tmp_path, tmp_path / "f.jsonl", retain)
    expected = []
    for name, town in towns.items():
        others = [f"The town of {other} is" for other in towns if other != name]
        found = [plain_logprob(model, tokenizer, prompt, town) for prompt in others]
        expected.append(gates_level(None, [total for total, _ in found], len(others), found[0][1]))
    # The only question of its template is compared with all others.
    others = [*(f"The town of {other} is" for other in towns), "Two and two are"]
    found = [plain_logprob(model, tokenizer, prompt, "Ulm") for prompt in others]
    expected.append(gates_level(None, [total for total, _ in found], len(others), found[0][1]))
    assert level_of(model, texts) == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_questions_with_the_same_answer_do_not_stand_in_for_ignorance(tmp_path):
    lines = [("Ahn lives in", "Rome"), ("Ahn's town is", "Rome"), ("So Rome is", "Y")]
    forget = write_lines(tmp_path / "f.jsonl", lines)
    retain = write_lines(tmp_path / "r.jsonl", [("Two and two are", "four")])
    _, tokenizer, texts = read(tmp_path, forget, retain)
    prompts = [[tokenizer.decode(text.ids[: text.answer_start]).strip() for text in some] for some in texts]
    # "So Rome is" shows the answer Rome; its own answer is compared with the other two.
    assert sorted(map(sorted, prompts)) == [["Ahn lives in", "Ahn's town is"], ["Two and two are"], ["Two and two are"]]


def test_texts_are_compared_after_the_beginnings_of_others(tmp_path):
    (tmp_path / "f.txt").write_text(" ".join(f"word{number}" for number in range(60)))
    (tmp_path / "r.txt").write_text(" ".join(f"other{number}" for number in range(60)))
    model, _, texts = read(tmp_path, tmp_path / "f.txt", tmp_path / "r.txt", max_tokens=40)
    assert len(texts) > 3
    for some in texts:
        answers = {text.ids[text.answer_start :] for text in some}
        (answer,) = answers
        assert len(answer) <= 16
        assert len({text.ids[: text.answer_start] for text in some}) == len(some)
    expected = []
    for some in texts:
        totals = []
        for text in some:
            with torch.inference_mode():
                found = model(torch.tensor([text.ids])).logits[0].double().log_softmax(dim=1)
            totals.append(
                sum(found[place - 1, text.ids[place]].item() for place in range(text.answer_start, len(text.ids)))
            )
        expected.append(gates_level(None, totals, len(totals), len(some[0].ids) - some[0].answer_start))
    assert level_of(model, texts) == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_long_chunks_of_training_do_not_change_which_parts_of_a_text_are_compared(tmp_path):
    (tmp_path / "f.txt").write_text(" ".join(f"word{number}" for number in range(120)))
    (tmp_path / "r.txt").write_text(" ".join(f"other{number}" for number in range(60)))
    _, _, short = read(tmp_path, tmp_path / "f.txt", tmp_path / "r.txt", max_tokens=128)
    _, _, long = read(tmp_path, tmp_path / "f.txt", tmp_path / "r.txt", max_tokens=2048, context=4096)
    assert len(short) > 3
    assert long == short


def test_the_level_is_the_target_and_the_hinge_lies_above_it():
    settings = Settings(until_forget_nll="ignorance")
    assert settings.target is None
    found = settings.at_level(5.0)
    assert (found.target, found.hinge) == (5.0, 7.0)
    assert Settings(until_forget_nll="ignorance", hinge=6.0).at_level(5.0).hinge == 6.0
    assert Settings(until_forget_nll="ignorance", hinge=math.inf).at_level(5.0).hinge == math.inf
    assert Settings(until_forget_nll=4.0).at_level(None) == Settings(until_forget_nll=4.0)
    assert Settings().at_level(5.0) == Settings()
    with pytest.raises(UsageError, match="has no ignorance level"):
        settings.at_level(None)
    with pytest.raises(UsageError, match="the forget target is 'soon'"):
        Settings(until_forget_nll="soon")


def test_a_run_ends_at_the_level_and_the_card_says_which(base, forget, retain, tmp_path):
    listener = Silent()
    recipe = {"rank": 4, "steps": 60, "batch_size": 3, "learning_rate": 1e-2, "threads": 1, "surfaces": ("raw",)}
    result = unlearn(base, forget, retain, tmp_path / "a", until_forget_nll="ignorance", progress=listener, **recipe)
    level = result.ignorance_nll
    assert level is not None
    assert result.stopped == "forget target"
    assert result.steps < 60
    assert result.forget_nll[1] >= level - 0.5  # rounded to float16
    card = (tmp_path / "a" / "README.md").read_text()
    assert f"| ignorance level of the forget set | {level:.4g} nat per token |" in card
    assert f"| stop at a forget NLL of | {level:.4g} nat per token |" in card
    assert f"| hinge | {level + 2:.4g} nat per token |" in card
    # A random model knows nothing of the set.
    assert any("the base hardly knows the forget set" in warning for warning in listener.warnings)


def test_a_set_without_anything_to_compare_with_needs_a_number(base, tmp_path):
    forget = write_lines(tmp_path / "f.jsonl", [("The capital of Aland is", "Berg")])
    (tmp_path / "r.txt").write_text("Some text of several words.")
    recipe = {"rank": 4, "steps": 1, "batch_size": 1, "threads": 1, "surfaces": ("raw",)}
    with pytest.raises(UsageError, match="has no ignorance level") as caught:
        unlearn(base, forget, tmp_path / "r.txt", tmp_path / "a", until_forget_nll="ignorance", **recipe)
    assert "--until-forget-nll" in caught.value.next_step
    assert unlearn(base, forget, tmp_path / "r.txt", tmp_path / "a", **recipe).ignorance_nll is None
